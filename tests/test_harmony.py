"""Harmony: what is written is read back, nothing can be forged, and whatever a model says is taken without loss."""

from collections import Counter
from dataclasses import replace

import pytest
import tiktoken
from hypothesis import example, given, settings
from hypothesis import strategies as st

import minioss
from minioss.checkpoint.tokenizer_json import byte_vocabulary
from minioss.text.harmony.content import content_text
from minioss.text.harmony.header import SPEAKERS, text_of
from minioss.text.harmony.messages import Developer, Function, Message, Namespace, System
from minioss.text.harmony.parsing import Parser
from minioss.text.harmony.rendering import (
    open_message,
    render,
    render_for_training,
    render_prompt,
    without_old_analysis,
)
from minioss.text.harmony.special import special_tokens
from minioss.text.harmony.typescript import function_text, json_text, tools_text, type_text
from minioss.text.tokenizer import from_vocabulary
from tests.conversations import SPECIALS, conversations

VOCABULARY = byte_vocabulary()
BYTES = from_vocabulary(VOCABULARY, "bytes", None)
SPECIAL = special_tokens(BYTES)
ENDS = [SPECIAL.end, SPECIAL.call, SPECIAL.return_, BYTES.encode_single_token("<|endoftext|>")]


def tokens_of(said):
    return BYTES.encode(said, allowed_special="all")


def parsed(tokens, opening=None, encoding=BYTES):
    parser = Parser(encoding, opening)
    for token in tokens:
        parser.push(token)
    parser.finish()
    return parser.messages


# Rendering


def as_read(messages):
    """What a reader can know of messages: content is text, and everybody is addressed when nobody is."""
    developers = [message.content for message in messages if isinstance(message.content, Developer)]
    functions = any("\nnamespace functions {" in content_text(developer) for developer in developers)
    for message in messages:
        recipient = None if message.recipient == "all" else message.recipient
        yield replace(message, content=content_text(message.content, functions), recipient=recipient)


def unambiguous(messages):
    """Without a recipient, a content type of one bare word reads as the recipient."""
    for message in messages:
        bare = message.recipient in (None, "all") and not (message.content_type or "").startswith("<|constrain|>")
        yield replace(message, content_type=None) if bare else message


@settings(max_examples=300)
@given(conversations.map(unambiguous).map(list))
def test_what_is_rendered_is_read_back(messages):
    assert parsed(render(messages, BYTES)) == list(as_read(messages))


@settings(max_examples=300)
@given(conversations)
def test_special_tokens_come_from_the_messages_alone(messages):
    """Texts and names in these conversations are full of the names of special tokens."""
    found = Counter(token for token in render(messages, BYTES) if token >= 256)
    calls = sum(message.role == "assistant" and message.recipient is not None for message in messages)
    assert +found == +Counter(
        {
            SPECIAL.start: len(messages),
            SPECIAL.message: len(messages),
            SPECIAL.channel: sum(message.channel is not None for message in messages),
            SPECIAL.constrain: sum((m.content_type or "").startswith("<|constrain|>") for m in messages),
            SPECIAL.call: calls,
            SPECIAL.end: len(messages) - calls,
        }
    )


@pytest.mark.parametrize("vocabulary", ["bytes", "o200k_harmony"])
def test_no_field_can_forge_a_special_token(vocabulary):
    encoding = BYTES if vocabulary == "bytes" else tiktoken.get_encoding(vocabulary)
    every = "".join({*SPECIALS, *encoding.special_tokens_set})
    schema = {"title": every, "description": every, "default": every, "enum": [every], "type": "string"}
    schema |= {"examples": [every]}
    parameters = {"type": "object", "description": every, "properties": {every: schema}}
    tools = (Namespace(every, (Function(every, every, parameters),), every),)
    messages = [
        Message("system", System(every, "low", every, every, (every,), tools)),
        Message("developer", Developer(every, tools)),
        Message("user", every, name=every),
        Message("assistant", every, every, every, "x" + every, every),
        Message("tool", every, every, every, " " + every, every),
    ]
    special = special_tokens(encoding)
    names = {encoding.encode_single_token(name) for name in encoding.special_tokens_set}
    one = [special.start, special.message, special.end]
    with_channel = [special.start, special.channel, special.message]
    expected = 3 * one + with_channel + [special.call] + with_channel + [special.end]
    assert [token for token in render(messages, encoding) if token in names] == expected


def test_only_a_leading_constrain_is_a_special_token():
    def specials(content_type):
        ids = render([Message("assistant", "{}", "final", None, content_type)], BYTES)
        return ids.count(SPECIAL.constrain), BYTES.decode(ids).split("final")[1].split("<|message|>")[0]

    assert specials("<|constrain|>json") == (1, " <|constrain|>json")
    assert specials("<|constrain|><|constrain|>") == (1, " <|constrain|><|constrain|>")
    assert specials(" <|constrain|>json") == (0, "  <|constrain|>json")
    assert specials("<|start|>") == (0, " <|start|>")


# A conversation of two turns, the first one with a call.
USER, THINK, CALL, RESULT, THINK_MORE, ANSWER, AGAIN, THINK_AGAIN, LAST = TALK = [
    Message("user", "How warm is it?"),
    Message("assistant", "A call is needed.", "analysis"),
    Message("assistant", "{}", "commentary", "functions.weather", "<|constrain|>json"),
    Message("tool", "20", "commentary", "assistant", name="functions.weather"),
    Message("assistant", "It said 20.", "analysis"),
    Message("assistant", "20 degrees.", "final"),
    Message("user", "And tomorrow?"),
    Message("assistant", "Hard to say.", "analysis"),
    Message("assistant", "As today.", "final"),
]


@pytest.mark.parametrize(
    ("messages", "kept"),
    [
        ([USER], [USER]),
        (TALK[:2], TALK[:2]),
        # No answer yet: the reasoning so far goes with the result of the call.
        (TALK[:5], TALK[:5]),
        (TALK[:6], [USER, CALL, RESULT, ANSWER]),
        (TALK[:7], [USER, CALL, RESULT, ANSWER, AGAIN]),
        # The assistant spoke again and has not answered: all reasoning is back, the old too.
        (TALK[:8], TALK[:8]),
        # What was thought after the first answer stays.
        (TALK, [USER, CALL, RESULT, ANSWER, AGAIN, THINK_AGAIN, LAST]),
        ([], []),
    ],
)
def test_what_is_dropped(messages, kept):
    assert without_old_analysis(messages) == kept
    assert render_prompt(messages, BYTES) == render(kept, BYTES) + tokens_of("<|start|>assistant")


def test_openings():
    assert BYTES.decode(render_prompt([], BYTES)) == "<|start|>assistant"
    assert render_prompt([USER], BYTES, "final") == render([USER], BYTES) + tokens_of(
        "<|start|>assistant<|channel|>final<|message|>"
    )
    assert BYTES.decode(open_message(BYTES, "analysis")) == "<|start|>assistant<|channel|>analysis<|message|>"
    for function in (lambda: render_prompt([], BYTES, "finale"), lambda: Parser(BYTES, "finale")):
        with pytest.raises(minioss.InputError, match="opening is 'finale'; expected one of analysis, final"):
            function()


def test_how_messages_end():
    assert [token for token in render(TALK[:6], BYTES) if token in ENDS] == [SPECIAL.end] * 2 + [SPECIAL.call] + [
        SPECIAL.end
    ] * 3
    assert render_for_training(TALK, BYTES) == [*render(TALK, BYTES)[:-1], SPECIAL.return_]
    assert render_for_training(TALK[:5], BYTES) == render(TALK[:5], BYTES)
    assert render_for_training([], BYTES) == []


def test_a_conversation_as_text():
    messages = [
        Message("system", System(effort="low", date="2025-06-28")),
        Message("developer", Developer("Be brief.", (Namespace("functions", (Function("weather", "Now."),)),))),
        *TALK[:4],
    ]
    assert BYTES.decode(render_prompt(messages, BYTES)) == (
        "<|start|>system<|message|>You are ChatGPT, a large language model trained by OpenAI.\n"
        "Knowledge cutoff: 2024-06\nCurrent date: 2025-06-28\n\nReasoning: low\n\n"
        "# Valid channels: analysis, commentary, final. Channel must be included for every message.\n"
        "Calls to these tools must go to the commentary channel: 'functions'.<|end|>"
        "<|start|>developer<|message|># Instructions\n\nBe brief.\n\n# Tools\n\n## functions\n\n"
        "namespace functions {\n\n// Now.\ntype weather = () => any;\n\n} // namespace functions<|end|>"
        "<|start|>user<|message|>How warm is it?<|end|>"
        "<|start|>assistant<|channel|>analysis<|message|>A call is needed.<|end|>"
        "<|start|>assistant to=functions.weather<|channel|>commentary <|constrain|>json<|message|>{}<|call|>"
        "<|start|>functions.weather to=assistant<|channel|>commentary<|message|>20<|end|>"
        "<|start|>assistant"
    )


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (Message("asistant", ""), r"messages\[1\] has role 'asistant'; expected one of system, developer, user"),
        (Message("user", System()), r"messages\[1\] has role user and System content; expected role system"),
        (Message("system", Developer()), "has role system and Developer content; expected role developer"),
        (Message("user", None), "has content None; expected text, System or Developer"),
        (Message("system", System(effort="most")), "asks for effort 'most'; expected one of low, medium, high, or"),
        (Message("tool", "1"), "has role tool and no name; expected the tool's, such as functions.weather"),
        (Message("tool", "1", name="system"), "from a tool named 'system'; expected a name that does not begin as a"),
        (Message("tool", "1", name="user:x"), "from a tool named 'user:x'"),
        (Message("user", "1", name="a to=b"), "has name 'a to=b'; expected a word without white space"),
        (Message("assistant", "1", recipient="\n"), "has recipient"),
        (Message("assistant", "1", channel=""), "has channel ''; expected a word"),
        (
            Message("developer", Developer(namespaces=(Namespace("a"), Namespace("b"), Namespace("a")))),
            "2 namespaces of a message are named 'a'; expected one",
        ),
    ],
)
def test_what_cannot_be_written_is_refused(message, expected):
    with pytest.raises(minioss.InputError, match=expected):
        render([USER, message], BYTES)


def test_a_tokenizer_without_the_special_tokens_is_refused():
    some = {"<|start|>": 256, "<|end|>": 257, "<|endoftext|>": 258}
    encoding = from_vocabulary(VOCABULARY._replace(special=some), "small", None)
    expected = r"the tokenizer small has no <\|channel\|>, <\|constrain\|>, <\|message\|>, <\|call\|>, <\|return\|>"
    for function in (lambda: render([], encoding), lambda: Parser(encoding)):
        with pytest.raises(minioss.InputError, match=expected):
            function()


# Tools


def test_a_function_with_everything():
    city = {"type": "string", "title": "City", "description": "Where.", "examples": ["Rome", 5, "Oslo"]}
    unit = {"type": "string", "enum": ["C", "F", 3], "default": "C"}
    place = {"type": "object", "description": "A point.", "properties": {"x": {"type": "number"}}, "required": ["x"]}
    when = {
        "description": "Of the forecast.",
        "default": 1,
        "oneOf": [{"type": "integer", "description": "Days."}, {"type": "string", "nullable": True, "default": "now"}],
    }
    properties = {"city": city, "unit": unit, "place": place, "when": when, "any": True}
    properties |= {"list": {"type": "array", "items": {"type": ["integer", "null"]}}, "all": {"type": "array"}}
    schema = {"type": "object", "properties": properties, "required": ["city", "list"]}
    assert function_text(Function("f", "Of one line.\nAnd another.", schema)) == (
        "// Of one line.\n// And another.\n"
        "type f = (_: {\n"
        '// City\n//\n// Where.\n// Examples:\n// - "Rome"\n// - "Oslo"\n'
        "city: string,\n"
        'unit?: "C" | "F", // default: C\n'
        "// A point.\nplace?:     // A point.\n{\n    x: number,\n    },\n"
        "// Of the forecast.\n// default: 1\n"
        'when?:\n | number\n | string | null // default: "now"\n,\n'
        "any?: any,\n"
        "list: number | null[],\n"
        "all?: Array<any>,\n"
        "}) => any;\n"
    )


def test_types():
    assert type_text({"oneOf": [{"type": "string", "enum": ["a"], "default": "a"}, {}]}, "  ") == (
        '\n   | "a" // default: "a"\n   | any'
    )
    # The official check for null looks at the text alone.
    assert type_text({"oneOf": [{"type": "string", "enum": ["nullify"], "nullable": True}]}) == '\n | "nullify"'
    assert type_text({"oneOf": []}) == "" and type_text({"type": []}) == "any"
    assert type_text({"type": "string", "enum": [1]}) == "string"
    assert type_text({"anyOf": [{"type": "string"}]}) == "any"
    # Schemas made in Python may have tuples where JSON has arrays, and None where it has nothing.
    assert type_text({"type": ("string", "null")}) == "string | null"
    assert type_text({"type": "object", "properties": None, "required": None}) == "{\n}"


def test_json_as_rust_writes_it():
    assert json_text([1e-5, 1e-6, 1e15, 1e16, 2**64, float("inf")]) == (
        "[0.00001,1e-6,1000000000000000.0,1e16,1.8446744073709552e19,inf]"
    )
    assert json_text({"é\n": (None, -0.0)}) == '{"é\\n":[null,-0.0]}'
    with pytest.raises(minioss.InputError, match="a schema holds [{]1}; expected what JSON can hold"):
        json_text({1})


def test_namespaces_stand_in_the_order_of_their_names():
    text = tools_text([Namespace("b", description="B.\n"), Namespace("a", description="A.\r\n\r\nMore\rone.")])
    assert text == "# Tools\n\n## a\n\nA.\n\nMore\rone.\n\n## b\n\nB."


# Parsing

# What models say and mis-say, without and with the special tokens in their places.
fragments = st.sampled_from(
    ["assistant", "user", "functions.f", " to=functions.f", " to=", "analysis", "final", "commentary?", " json", " ?? "]
    + ["Hello, 東京!", "\n\n", "<|start|>assistant<|channel|>final<|message|>", "<|channel|>analysis<|message|>"]
    + ["<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|constrain|>", "<|return|>", "<|call|>"]
    + ["<|endoftext|>", "<|reserved_260|>"]
).map(tokens_of)
streams = st.lists(fragments | st.lists(st.integers(0, 280), max_size=3), max_size=14).map(lambda all: sum(all, []))
openings = st.sampled_from([None, None, "analysis", "final"])


def segments(tokens, opening):
    """The headers and contents of a stream: (header, content or None if there is no <|message|>)."""
    header, content = [], None if opening is None else []
    for token in [*tokens, SPECIAL.end]:
        begins = token == SPECIAL.start or (content is not None and token == SPECIAL.channel)
        if begins or token in ENDS:
            if content is not None or text_of(header, BYTES).strip():
                yield header, content
            header, content = [token] if token == SPECIAL.channel else [], None
        elif content is None and token == SPECIAL.message:
            content = []
        else:
            (header if content is None else content).append(token)


@settings(max_examples=2000)
@given(streams, openings)
@example(tokens_of("<|channel|>final<|message|>") + [0xC3], None)
def test_no_text_is_lost(tokens, opening):
    """A content is all from <|message|> to the end; a word of a header is in a field, in the note or made content."""
    messages, expected = parsed(tokens, opening), list(segments(tokens, opening))
    assert len(messages) == len(expected)
    for message, (header, content) in zip(messages, expected, strict=True):
        fields = [message.role, message.name, message.channel, message.recipient, message.content_type, message.note]
        kept = " ".join(map(str, fields))
        if content is not None:
            assert message.content == text_of(content, BYTES)
        else:
            kept += message.content
        marked = [ord(" ") if token in (SPECIAL.channel, SPECIAL.constrain) else token for token in header]
        for word in text_of(marked, BYTES).split():
            assert word.removeprefix("to=").removeprefix(f"{message.role}:") in kept


@settings(max_examples=2000)
@given(streams, openings)
def test_the_text_that_is_given_out_is_that_of_the_messages(tokens, opening):
    """It belongs to the current message, or where there is none to the last one."""
    parser, contents = Parser(BYTES, opening), Counter()
    for token in tokens:
        text = parser.push(token)
        place = len(parser.messages) - (parser.current is None)
        contents[place] = contents.get(place, "") + text
        assert parser.current is None or parser.current.content == contents[place]
    text = parser.finish()
    place = len(parser.messages) - 1
    contents[place] = contents.get(place, "") + text
    assert parser.current is None
    assert [contents.get(place, "") for place in range(len(parser.messages))] == [m.content for m in parser.messages]
    assert not any(text for place, text in contents.items() if place < 0)


@settings(max_examples=500)
@given(streams)
def test_what_was_read_can_be_written(tokens):
    """A conversation goes on after any mistake of the model."""
    messages = parsed(tokens)
    again = parsed(render(messages, BYTES))
    assert [(m.role, m.content) for m in again] == [(m.role, m.content) for m in messages]


@settings(max_examples=300)
@given(conversations.map(unambiguous).map(list), st.data())
def test_a_stream_can_be_cut_anywhere(messages, data):
    """Complete messages do not depend on what follows."""
    tokens = render(messages, BYTES)
    cut = data.draw(st.integers(0, len(tokens)))
    parser = Parser(BYTES)
    for token in tokens[:cut]:
        parser.push(token)
    complete = parser.messages.copy()
    assert complete == list(as_read(messages))[: len(complete)]
    parser.finish()
    assert parser.messages[: len(complete)] == complete and len(parser.messages) <= len(complete) + 1


def test_whole_characters_only():
    parser = Parser(BYTES, "final")
    assert [parser.push(byte) for byte in "é東".encode()] == ["", "é", "", "", "東"]
    assert parser.push(0xE6) == ""
    assert parser.push(SPECIAL.end) == "�"
    assert parser.messages == [Message("assistant", "é東�", "final")]


def test_the_current_message():
    parser = Parser(BYTES)
    seen = []
    for token in tokens_of(" to=f<|channel|>commentary json<|message|>{}<|call|>"):
        parser.push(token)
        seen.append(parser.current)
    assert set(seen[:-4]) == {None} and seen[-1] is None
    assert [message.content for message in seen[-4:-1]] == ["", "{", "{}"]
    assert seen[-4] == Message("assistant", "", "commentary", "f", "json")
    assert parser.messages == [Message("assistant", "{}", "commentary", "f", "json")]
    parser.finish()
    assert len(parser.messages) == 1


def test_a_budget_is_spent():
    """Tokens that the caller puts in count as said."""
    parser = Parser(BYTES, "analysis")
    for token in [*b"Let me", SPECIAL.end, *open_message(BYTES, "final"), *b"No.", SPECIAL.return_]:
        parser.push(token)
    assert parser.messages == [Message("assistant", "Let me", "analysis"), Message("assistant", "No.", "final")]


@pytest.mark.parametrize(
    ("said", "note"),
    [
        ("<|channel|>fin<|message|>", "the channel is 'fin', expected one of analysis, commentary, final"),
        ("<|channel|><|message|>", "the channel is empty, expected a word"),
        ("<|channel|>final<|channel|>final<|message|>", "the channel is given 2 times, and the first is taken"),
        ("<|channel|>final to=<|message|>", "the recipient is empty, expected a word"),
        (" to=a to=b<|message|>", "the recipient is given 2 times"),
        ("<|channel|>final a<|message|>", "'a' is taken for the recipient, expected to= before it"),
        ("<|channel|>final a b c<|message|>", "'a b c' is too much, expected to=RECIPIENT and a content type"),
        ("<|channel|>final to=a b c<|message|>", "'b c' is too much"),
        ("<|constrain|>a<|constrain|>b<|message|>", "the content type is given 2 times"),
        ("<|start|><|channel|>final<|message|>", "the role is missing, and assistant is taken"),
        ("<|start|> to=f<|message|>", "the role is missing"),
        ("<|start|>asistant<|channel|>final<|message|>", "the role is 'asistant', expected one of system, developer,"),
        ("<|channel|>final", r"found nothing more, expected <\|message\|> after the header"),
        ("<|channel|>final<|call|>", r"found <\|call\|>, expected <\|message\|> after the header"),
        (
            "<|message|>a<|start|>",
            r"found <\|start\|> in the text, expected one of <\|end\|>, <\|call\|>, <\|return\|>",
        ),
        ("<|message|>a<|channel|>", r"found <\|channel\|> in the text"),
        ("<|message|>a<|endoftext|>", r"found <\|endoftext\|> in the text"),
    ],
)
def test_notes(said, note):
    message = parsed(tokens_of(said))[0]
    with pytest.raises(AssertionError, match=note):
        raise AssertionError(message.note)
    header = said.removeprefix("<|start|>").split("<|message|>")[0]
    assert not message.note.startswith("in the header") or f'in the header "{header}" ' in message.note


def test_a_second_message_without_a_start():
    first, second = parsed(tokens_of("<|message|>a<|end|><|channel|>final<|message|>b<|end|>"))
    assert first.note is None and second.note == 'in the header "<|channel|>final" <|start|> is missing'


def test_a_header_that_was_cut_becomes_text():
    (message,) = parsed(tokens_of("<|channel|>analysis One,\n\n  two.<|return|>"))
    assert (message.channel, message.content) == ("analysis", "One,\n\n  two.")
    (message,) = parsed(tokens_of("user asked<|return|>"))
    assert (message.role, message.content) == ("assistant", "user asked")
    (message,) = parsed(tokens_of("<|start|>user asked<|return|>"))
    assert (message.role, message.content) == ("user", "asked")
    (message,) = parsed(tokens_of(" to=f<|channel|>?? {<|return|>"))
    assert (message.channel, message.recipient, message.content) == (None, None, " to=f ?? {")
    assert parsed(tokens_of("\n<|return|><|start|>\n<|end|>")) == []


@pytest.mark.parametrize("role", SPEAKERS)
def test_roles(role):
    assert parsed(tokens_of(f"<|start|>{role}:a:b<|message|>x<|end|>")) == [Message(role, "x", name="a:b")]
    assert parsed(tokens_of(f"<|start|>{role}<|message|>x<|end|>")) == [Message(role, "x")]
