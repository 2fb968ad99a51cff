"""The conversation loop: rounds, tools, budgets, interruptions, and what is computed from turn to turn."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minioss
from minioss.chat.conversation import STOPPED, Chat
from minioss.chat.events import Done, Malformed, Text, Thinking, ToolCall, ToolResult
from minioss.chat.reading import Reading, common_length
from minioss.chat.tools.functions import Functions
from minioss.errors import InputError
from minioss.text.harmony.messages import Message, Namespace
from minioss.text.harmony.rendering import open_message, render_prompt
from tests.models import nmse
from tests.scripted import scripted

THINK = "<|channel|>analysis<|message|>Let me see.<|end|><|start|>assistant"
ANSWER = "<|channel|>final<|message|>It is so.<|return|>"
CALL = '<|channel|>commentary to=functions.double <|constrain|>json<|message|>{"n": 21}<|call|>'


def double(n: int) -> int:
    """Twice a number."""
    return 2 * n


@pytest.fixture(scope="session")
def model(tiny):
    return minioss.load(tiny)


def chat_with(model, *replies, **options) -> Chat:
    return Chat(scripted(model, list(replies)), date="2025-06-28", **options)


def kinds(events) -> list[type]:
    """The kinds of events in order; pieces of one kind count once."""
    found = [type(event) for event in events]
    return [kind for place, kind in enumerate(found) if place == 0 or found[place - 1] is not kind]


def said(events, kind) -> str:
    return "".join(event.text for event in events if isinstance(event, kind))


def test_an_answer_with_its_reasoning(model):
    chat = chat_with(model, THINK + ANSWER)
    events = list(chat.stream("Is it so?"))
    assert kinds(events) == [Thinking, Text, Done]
    assert (said(events, Thinking), said(events, Text)) == ("Let me see.", "It is so.")
    assert [event.channel for event in events if isinstance(event, Text)] == ["final"] * len("It is so.")
    assert events[-1].reason == "answer" and events[-1].new_tokens == len(chat.reading.model._said)
    assert chat.messages == [
        Message("user", "Is it so?"),
        Message("assistant", "Let me see.", "analysis"),
        Message("assistant", "It is so.", "final"),
    ]


def test_a_function_is_called_and_its_result_is_read(model):
    chat = chat_with(model, THINK + CALL, THINK + ANSWER, tools=[double])
    events = list(chat.stream("Twice 21?"))
    assert kinds(events) == [Thinking, ToolCall, ToolResult, Thinking, Text, Done]
    assert chat.messages[3] == Message("tool", "42", "commentary", "assistant", name="functions.double")
    prompt = chat.encoding.decode(render_prompt(chat.conversation()[:-2], chat.encoding))
    assert "type double = (_: {" in prompt and "functions.double to=assistant" in prompt


def test_what_is_said_before_a_call_is_commentary(model):
    preamble = "<|channel|>commentary<|message|>I will look.<|end|><|start|>assistant"
    events = list(chat_with(model, preamble + CALL, ANSWER, tools=[double]).stream("Twice 21?"))
    assert [event.text for event in events if isinstance(event, Text) and event.channel == "commentary"] == list(
        "I will look."
    )


@pytest.mark.parametrize("recipient", ["functions.halve", "browser.open", "nonsense"])
def test_a_tool_that_is_not_there_is_an_answer(model, recipient):
    chat = chat_with(model, CALL.replace("functions.double", recipient), ANSWER, tools=[double])
    (result,) = [event.message for event in chat.stream("Go") if isinstance(event, ToolResult)]
    assert result.content.startswith("Error: there is no ") and "Expected " in result.content
    assert chat.messages[-1].content == "It is so."


@pytest.mark.parametrize("recipient", ["user", "all", "assistant"])
def test_messages_for_people_call_nothing(model, recipient):
    chat = chat_with(model, f"<|channel|>final to={recipient}<|message|>Hello<|return|>", tools=[double])
    assert list(chat.stream("Go"))[-1].reason == "answer" and chat.messages[-1].recipient == recipient


def test_an_answer_is_asked_for_where_the_model_stops_without_one(model):
    chat = chat_with(model, THINK.replace("<|start|>assistant", "<|return|>"), "Yes.<|return|>")
    events = list(chat.stream("Is it so?"))
    assert said(events, Text) == "Yes." and events[-1].reason == "answer"


def test_rounds_have_a_limit(model):
    chat = chat_with(model, CALL, CALL, "Enough.<|return|>", tools=[double], max_rounds=2)
    events = list(chat.stream("Twice 21?"))
    assert len([event for event in events if isinstance(event, ToolCall)]) == 2
    assert said(events, Text) == "Enough." and chat.messages[-1].channel == "final"


def test_rounds_end_even_where_the_last_answer_is_a_call(model):
    chat = chat_with(model, CALL, "<|end|><|start|>assistant" + CALL, tools=[double], max_rounds=1)
    assert list(chat.stream("Twice 21?"))[-1].reason == "rounds"


@pytest.mark.parametrize("budget", [0, 1, 4])
def test_a_budget_ends_the_reasoning(model, budget):
    chat = chat_with(model, THINK + ANSWER, "Yes.<|return|>", thinking_budget=budget)
    events = list(chat.stream("Is it so?"))
    assert said(events, Thinking) == "Let me see."[:budget] and said(events, Text) == "Yes."
    assert [(m.channel, m.note) for m in chat.messages[1:]] == [("analysis", None), ("final", None)]
    # Nothing is read again: after the question, the last token of the reasoning, and what opens the answer.
    question, opening = render_prompt(chat.conversation()[:2], chat.encoding), open_message(chat.encoding, "final")
    assert chat.reading.read_tokens == len(question) + len(["token", "<|end|>", *opening])


def test_effort_is_in_the_system_message_and_off_opens_the_answer(model):
    chat = chat_with(model, "At once.<|return|>", THINK + ANSWER, effort="off")
    events = list(chat.stream("Is it so?"))
    assert kinds(events) == [Text, Done] and chat.messages[-1] == Message("assistant", "At once.", "final")
    chat.effort = "high"
    assert chat.conversation()[0].content.effort == "high"
    assert kinds(chat.stream("And now?")) == [Thinking, Text, Done]
    with pytest.raises(InputError, match="effort is 'huge'; expected one of off, low"):
        chat.effort = "huge"


def test_a_malformed_header_is_no_failed_turn(model):
    chat = chat_with(model, "<|channel|>finale<|message|>It is so.<|return|>", ANSWER)
    events = list(chat.stream("Is it so?"))
    assert kinds(events) == [Text, Malformed, Done] and said(events, Text) == "It is so."
    assert "'finale'" in chat.messages[-1].note
    assert list(chat.stream("Again?"))[-1].reason == "answer"


def test_the_model_speaks_as_nobody_else(model):
    chat = chat_with(model, "<|end|><|start|>user<|message|>Do it!<|end|><|start|>assistant" + ANSWER, ANSWER)
    list(chat.stream("Is it so?"))
    assert [message.role for message in chat.messages] == ["user", "assistant", "assistant"]
    list(chat.stream("Again?"))


def test_the_room_of_the_context_ends_an_answer(model):
    chat = chat_with(model, THINK + ANSWER, ANSWER, max_new_tokens=5)
    assert list(chat.stream("Is it so?"))[-1].reason == "length"
    assert chat.messages == [Message("user", "Is it so?")]  # half a thought is not kept


def test_a_conversation_that_does_not_fit_is_refused_and_goes_on(tiny):
    config = minioss.preset("tiny")
    model = minioss.load(tiny)
    chat = chat_with(model, ANSWER)
    with pytest.raises(InputError, match="expected at most max_position_embeddings"):
        list(chat.stream("x" * config.max_position_embeddings))
    assert chat.messages == []
    assert list(chat.stream("Is it so?"))[-1].reason == "answer"


@pytest.mark.parametrize("tokens", range(0, 21, 4))
def test_an_answer_can_be_left_at_any_event(model, tokens):
    chat = chat_with(model, THINK + ANSWER, THINK + ANSWER)
    events = chat.stream("Is it so?")
    seen = [next(events) for _ in range(tokens)][1:]
    events.close()
    text = said(seen, Text)
    assert "".join(m.content for m in chat.messages if m.channel == "final").startswith(text)
    assert [m.channel for m in chat.messages[1:]] in ([], ["analysis"], ["analysis", "final"])
    assert said(list(chat.stream("Once more?")), Text) == "It is so."


def test_an_interrupted_call_has_a_result(model):
    class Slow:
        namespace, built_in = Namespace("functions"), False

        def run(self, call):
            raise KeyboardInterrupt

    chat = chat_with(model, CALL, ANSWER, tools=[Slow()])
    with pytest.raises(KeyboardInterrupt):
        list(chat.stream("Go"))
    assert chat.messages[-1].role == "tool" and chat.messages[-1].content == STOPPED
    assert list(chat.stream("Go on"))[-1].reason == "answer"


def test_what_is_wrong_with_options(model, tiny):
    def refused(message, model=model, **options):
        with pytest.raises(InputError, match=message):
            Chat(model, **options)

    refused("two tools named functions", tools=[double, Functions([double])])
    refused("thinking_budget is -1; expected 0 or more", thinking_budget=-1)
    refused("max_rounds is 0; expected 1 or more", max_rounds=0)
    refused("has no folder", model=minioss.Model(model.config, model.weights))


def test_a_second_turn_reads_what_follows_the_first_token_that_differs(model):
    chat = chat_with(model, THINK + ANSWER, THINK + ANSWER)
    list(chat.stream("Is it so?"))
    asked = render_prompt(chat.conversation()[:2], chat.encoding)
    first_turn = [*asked, *chat.reading.model._said]
    done = list(chat.stream("Are you sure?"))[-1]
    second = render_prompt(chat.conversation()[:-2], chat.encoding)
    # The way back leads to the end of the first prompt: one token before the difference, <|channel|>.
    assert common_length(first_turn, second) == len(asked) + 1
    assert done.prompt_tokens == len(second) and done.read_tokens == len(second) - len(asked)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logits_after_the_way_back_are_those_of_a_fresh_run(tiny, dtype):
    model = minioss.load(tiny, dtype=dtype)
    chat = Chat(scripted(model, [THINK + ANSWER] * 3), date="2025-06-28")
    for question in ("Is it so?", "Are you sure?", "Why?"):
        list(chat.stream(question))
    reading, ids = chat.reading, render_prompt(chat.conversation(), chat.encoding)
    known = reading._go_back(ids)
    assert 0 < known < len(ids)
    assert nmse(model(ids[known:], reading._cache, "last"), model(ids, logits="last")) < 1e-10


texts = st.lists(st.integers(0, 3), min_size=1, max_size=60)


def test_any_way_through_texts_reads_the_same(model):
    """Texts of few letters often begin alike."""

    @settings(max_examples=60)
    @given(st.lists(st.tuples(texts, st.integers(1, 5)), min_size=1, max_size=6))
    def read(steps):
        reading, prompts = Reading(model), []
        for ids, count in steps:
            options, before = {"max_new_tokens": count, "temperature": 0.0}, reading.read_tokens
            written, fresh = list(reading.go_on(ids, **options)), list(minioss.generate(model, ids, **options))
            # Whatever was a prompt and is still on the way is not read again.
            prompts = [prompt for prompt in prompts if len(prompt) < len(ids) and prompt == ids[: len(prompt)]]
            assert reading.read_tokens - before <= len(ids) - max(map(len, prompts), default=0)
            assert abs(written[0].logprob - fresh[0].logprob) < 1e-4
            prompts.append(ids)

    read()
