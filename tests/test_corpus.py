"""The training corpus: tales, stories, tasks and their worked answers, conversations, the tokenizer, batches."""

import dataclasses
import json
import re
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minioss
from minioss.chat.conversation import Chat
from minioss.chat.tools.tool import answer
from minioss.checkpoint import tokenizer_json
from minioss.text.harmony.messages import Developer, Namespace
from minioss.text.harmony.rendering import render_for_training, render_prompt, without_old_analysis
from minioss.training.corpus import letters
from minioss.training.corpus.cleaning import Book, tales_of, tidy
from minioss.training.corpus.conversations import (
    EFFORTS,
    KINDS,
    NO_PRODUCT,
    PROBLEMS,
    TABLE,
    conversation,
    example,
    replies,
    written,
)
from minioss.training.corpus.evaluation import KINDS as EVALUATED
from minioss.training.corpus.evaluation import held_out_operands, questions
from minioss.training.corpus.mixture import REPLY_WEIGHT, batch, passage, tale_tokens, texts
from minioss.training.corpus.problem import draw, draw_operands, is_held_out
from minioss.training.corpus.stories import BOYS, GIRLS, PETS, cast, story
from minioss.training.corpus.tales import HELD_OUT, PATH, all_tales, held_out_tales, tales
from minioss.training.corpus.tokenizer import PATH as TOKENIZER
from minioss.training.corpus.tokenizer import VOCABULARY, tokenizer, trained

seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def pieces(text):
    return [tokenizer().decode_single_token_bytes(token).decode() for token in tokenizer().encode_ordinary(text)]


# Tales


def test_the_tales_are_many_and_small():
    assert PATH.stat().st_size < 2_500_000
    assert len(all_tales()) > 380 and sum(map(len, tales())) > 4_800_000


@pytest.mark.parametrize(
    "left",
    ["Gutenberg", "CONTENTS", "Contents", "PREFACE", "Preface", "CHAPTER", "Chapter", "THE END", "Illustration"]
    + ["Footnote", "Transcriber", "Edited", "Andrew", "_", "*", "[", "(1)", "--", "  ", "http"],
)
def test_nothing_but_tales_is_left(left):
    assert not [title for title, text in all_tales() if left in text]


def test_tales_are_plain_paragraphs():
    for title, text in all_tales():
        assert title and text.isascii() and text.replace("\n", " ").isprintable(), title
        lines = text.split("\n")
        assert all(line == line.strip() and line for line in lines), title
        assert lines[0][0].isupper() or lines[0][0] == '"', title
    lines = [line for _, text in all_tales() for line in text.split("\n")]
    assert np.mean([line[-1] in ".!?:;,'\"-)" for line in lines]) > 0.99
    assert np.mean([line.count('"') % 2 == 0 for line in lines]) > 0.98


def test_the_held_out_tales_are_apart():
    titles = [title for title, _ in all_tales()]
    assert all(titles.count(title) == 1 for title in HELD_OUT)
    assert not set(tales()) & set(held_out_tales())
    assert len(tales()) + len(held_out_tales()) == len(all_tales()) and len(held_out_tales()) == len(HELD_OUT)


def test_a_book_is_cut_and_cleaned():
    fox = "THE FOX\n\nONCE a fox[1]\nsaid: ‘Don’t!’\n\n(1) Grimm.\n\n\n\nII\n\nHe ran.\n\n\n"
    body = fox + "THE _HEN_(2)\n\n* * *\n\nA hen.\n"
    found = [tuple(tale) for tale in tales_of(body, Book("THE FOX"))]
    assert found == [("the fox", 'Once a fox said: "Don\'t!"\nHe ran.'), ("the hen", "A hen.")]


@given(st.text(alphabet="ab AB‘’“”'\"_*[]—-.,!(1)é", max_size=60), st.booleans())
def test_cleaning_is_ascii_and_final(line, single):
    clean = tidy(line, single)
    assert clean.isascii() and "_" not in clean and "*" not in clean and "  " not in clean
    assert len(re.sub("[^ab]", "", clean.lower())) <= len(re.sub("[^ab]", "", line.lower()))


# Stories


@given(seeds)
def test_a_story_is_whole(random):
    text = story(random)
    assert 80 <= len(text.split()) <= 260
    assert not re.search(r"[\[\]{}|]|  | [.,!?]|[.,] *[.,]", text) and text.isascii()
    assert text.count('"') % 2 == 0 and text[-1] in '."'
    assert not re.search(r"\b(\w+) \1\b", text.replace("walked and walked", "").lower().replace("help! help", ""))


@given(seeds)
def test_a_story_has_its_two_and_nobody_else(random):
    names = set(f"{GIRLS} {BOYS} {PETS}".split())
    found = set(re.findall(r"(?<![.!?\"] )(?<!^)(?<!\")\b[A-Z]\w+", story(random))) & names
    assert len(found) in (1, 2)


@given(seeds)
def test_pronouns_follow_the_names(random):
    slots = cast(random)
    for name, he, him, his in (("A", "he", "him", "his"), ("B", "bhe", "bhim", "bhis")):
        pronouns = (slots[he], slots[him], slots[his])
        assert pronouns in (("she", "her", "her"), ("he", "him", "his"))
        if slots[name] in GIRLS.split() or slots[name] in BOYS.split():
            assert (slots[name] in GIRLS.split()) == (slots[he] == "she")
        assert slots[he].capitalize() == slots[he.capitalize()]
    assert slots["A"] != slots["B"] and slots["Akind"] != slots["Bkind"]


def test_stories_hardly_repeat():
    random = np.random.default_rng(0)
    assert len({story(random) for _ in range(5000)}) == 5000


# Tasks


def test_words_are_words():
    assert all(3 <= len(word) <= 8 and word.isalpha() and word.islower() for word in letters.words())
    assert len(letters.words()) > 3000


@given(seeds)
def test_additions(random):
    problem = draw(random, PROBLEMS["add"])
    a, b = map(int, re.findall(r"\d+", problem.question))
    first, *columns, last = problem.worked.split("\n")
    top, bottom = first.split("+")
    assert (int(top), int(bottom)) == (a, b) and len(top) == len(bottom) == len(columns)
    carry, digits = 0, ""
    for place, line in enumerate(columns, 1):
        one, other, third, total, digit, now = map(int, re.findall(r"\d+", line))
        assert (one, other, third) == (int(top[-place]), int(bottom[-place]), carry)
        assert one + other + third == total == 10 * now + digit
        carry, digits = now, f"{digit}{digits}"
    assert last == f"So {a + b}." and int(f"{carry}{digits}") == a + b and problem.answer == str(a + b)
    check_equations(problem.hint)


@given(seeds)
def test_subtractions(random):
    problem = draw(random, PROBLEMS["subtract"])
    a, b = map(int, re.findall(r"\d+", problem.question))
    if re.match("Subtract|Take .* away", problem.question):
        a, b = (b, a) if problem.question.startswith("Subtract") else (b, a)
    first, *columns, last = problem.worked.split("\n")
    comparison, difference = first.split(": ")
    check_comparison(comparison)
    assert ("negative" in difference) == (a < b)
    top, bottom = difference.removeprefix("negative, ").split("-")
    assert (int(top), int(bottom)) == (max(a, b), min(a, b)) and len(top) == len(bottom) == len(columns)
    borrow, digits = 0, ""
    for place, line in enumerate(columns, 1):
        one, other, third, rest, digit, now = map(
            int, re.fullmatch(r"(\d)-(\d)-(\d)=(-?\d+): (\d) borrow (\d)", line).groups()
        )
        assert (one, other, third) == (int(top[-place]), int(bottom[-place]), borrow)
        assert one - other - third == rest == digit - 10 * now
        borrow, digits = now, f"{digit}{digits}"
    assert borrow == 0 and int(digits) == abs(a - b)
    assert last == f"So {a - b}." and problem.answer == str(a - b)
    rounded, rest = problem.hint.rstrip(".").split(", ")
    check_equations(rounded)
    assert int(rounded.split("=")[1]) + int(rest) == a - b


@given(seeds)
def test_comparisons(random):
    problem = draw(random, PROBLEMS["compare"])
    numbers = sorted(map(int, re.findall(r"\d+", problem.question)))
    assert problem.answer == str(numbers["larger" in problem.question]) and numbers[0] != numbers[1]
    first, *steps, last = problem.worked.split("\n")
    assert sorted(map(int, first.split(", "))) == numbers and last == f"So {problem.answer}."
    assert problem.hint == f"{first}."
    one, other = first.split(", ")
    for place, step in enumerate(steps):
        digits, *found = step.split(": ")
        check_comparison(digits)
        assert (digits[0], digits[2]) == (one[place], other[place])
        assert bool(found) == (one[place] != other[place]) == (step is steps[-1])
        for numbers in found:
            check_comparison(numbers)


def check_equations(text):
    for left, right in re.findall(r"(-?\d+[+-]\d+)=(-?\d+)", text):
        first, sign, second = re.fullmatch(r"(-?\d+)([+-])(\d+)", left).groups()
        assert int(first) + int(sign + second) == int(right)
    assert "=" in text


def check_comparison(text):
    one, sign, other = re.fullmatch(r"(\d+)([<=>])(\d+)", text).groups()
    assert {"<": int(one) < int(other), "=": int(one) == int(other), ">": int(one) > int(other)}[sign]


def spelled(question):
    """The word that a question spells in capitals."""
    (found,) = re.findall(r"(?<!\S)[A-Z](?: [A-Z])+\b", question)
    return found.replace(" ", "").lower()


@given(seeds)
def test_letters_counted(random):
    letter, word = draw_operands(random, PROBLEMS["count"])
    problem = letters.counting(random, (letter, word))
    assert spelled(problem.question) == word
    assert re.search(rf"\b{letter.upper()}\b", problem.question.replace(" ".join(word.upper()), ""))
    asked, steps = problem.worked.split(" in ")
    found, counts = zip(*(step.split(":") for step in steps.split(" ")), strict=True)
    assert asked == letter.upper() and "".join(found) == word.upper()
    assert list(map(int, counts)) == [found[: place + 1].count(asked) for place in range(len(word))]
    assert problem.answer == str(word.count(letter))
    assert problem.hint.replace(" ", "").lower() == f"{letter}in{word}"


@given(seeds)
def test_letters_reversed(random):
    (word,) = operands = draw_operands(random, PROBLEMS["reverse"])
    problem = letters.reversing(random, operands)
    assert spelled(problem.question) == word
    forward, backward = problem.worked.split(", ")
    assert forward.split(" ") == [f"{letter}{place}" for place, letter in enumerate(word.upper(), 1)]
    assert backward.split(" ") == forward.split(" ")[::-1]
    assert problem.answer == " ".join(re.findall("[A-Z]", backward))
    assert problem.hint == f"{len(word)} letters, {problem.answer[0]} first."


@given(seeds)
def test_letters_sorted(random):
    (word,) = operands = draw_operands(random, PROBLEMS["sort"])
    problem = letters.sorting(random, operands)
    assert spelled(problem.question) == word and len(word) <= 5
    steps = problem.worked.split(", ")
    assert [sorted(word[: place + 1].upper()) for place in range(len(word))] == [step.split(" ") for step in steps]
    assert problem.answer == steps[-1] and problem.hint == f"{problem.answer[0]} first."


@given(seeds)
def test_reasoning_is_short(random):
    for kind in PROBLEMS.values():
        problem = draw(random, kind)
        worked, hint = (len(tokenizer().encode_ordinary(text)) for text in (problem.worked, problem.hint))
        assert hint < worked < 100 and "\n" not in problem.hint and hint <= 22


# Conversations


class Recorded:
    """In place of what reads: it says what it is given to say, and keeps the prompts."""

    read_tokens = new_tokens = read_seconds = write_seconds = 0

    def __init__(self, said):
        self.said, self.prompts = said, []

    def go_on(self, ids, **options):
        self.prompts.append(list(ids))
        yield from self.said.pop(0)


class Offered:
    """The functions of a conversation, as a tool that answers what the conversation says."""

    built_in = False

    def __init__(self, namespace: Namespace, results):
        self.namespace, self.results = namespace, results

    def run(self, call):
        return answer(call, self.results.pop(0))


def encoded(text):
    return tokenizer().encode(text, allowed_special="all")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "small"
    config = dataclasses.replace(minioss.preset("tiny"), vocab_size=VOCABULARY)
    minioss.synthesize(folder, config, tokenizer=TOKENIZER)
    return minioss.load(folder)


def chat_of(model, messages):
    """A chat of the same system and developer message, whose model says what the assistant says."""
    developer = next((m.content for m in messages if isinstance(m.content, Developer)), Developer())
    results = [message.content for message in messages if message.role == "tool"]
    system = messages[0].content
    tools = [Offered(namespace, results) for namespace in developer.namespaces]
    chat = Chat(model, effort=system.effort, date=system.date, tools=tools, instructions=developer.instructions)
    starts = [
        (start, end) for place, m in enumerate(messages) if m.role == "user" for start, end in of_turn(messages, place)
    ]
    chat.reading = Recorded([encoded(written(messages[start:end])) for start, end in starts])
    return chat, starts


def of_turn(messages, place):
    """The replies of the turn that begins at a place."""
    later = [n for n, message in enumerate(messages) if message.role == "user" and n > place]
    return replies(messages[: later[0]] if later else messages)


@given(seeds)
@settings(max_examples=60)
def test_prompts_and_replies_are_those_of_a_chat(model, random):
    messages = conversation(random)
    chat, starts = chat_of(model, messages)
    for message in messages:
        if message.role == "user":
            list(chat.stream(message.content))
    assert chat.conversation() == messages
    assert chat.reading.prompts == [render_prompt(messages[:start], tokenizer()) for start, _ in starts]
    ids, weights = example(random, messages, tokenizer())
    prompt = [token for token, weight in zip(ids, weights, strict=True) if not weight]
    assert prompt in chat.reading.prompts and weights == sorted(weights)


@given(seeds)
@settings(max_examples=60)
def test_the_weights_cover_what_the_model_writes(random):
    messages = conversation(random)
    ids, weights = example(random, messages, tokenizer())
    said = tokenizer().decode([token for token, weight in zip(ids, weights, strict=True) if weight])
    candidates = [messages[start:end] for start, end in replies(messages)]
    (reply,) = [reply for reply in candidates if written(reply) == said]
    assert all(message.role == "assistant" for message in reply)
    assert all(message.content in said for message in reply)
    start = next(place for place, message in enumerate(messages) if message is reply[0])
    if reply[-1].recipient is None and messages[start - 1].role == "user":
        stored = without_old_analysis(messages[:start]) + reply
        assert ids == render_for_training(stored, tokenizer())


@given(seeds)
def test_effort_decides_how_much_is_reasoned(random):
    messages = conversation(random)
    effort = messages[0].content.effort
    turns = sum(message.role == "user" for message in messages)
    assert sum(message.channel == "analysis" for message in messages) == (0 if effort == "low" else turns)


@given(seeds)
def test_functions_are_called_where_they_are_needed(random):
    messages = conversation(random)
    offered = [
        f.name for m in messages if isinstance(m.content, Developer) for n in m.content.namespaces for f in n.functions
    ]
    for place, message in enumerate(messages):
        if message.recipient is not None and message.role == "assistant":
            assert message.recipient.removeprefix("functions.") in offered
            arguments = json.loads(message.content)
            result, last = messages[place + 1 : place + 3]
            assert result.name == message.recipient and result.content == last.content and last.channel == "final"
            if all(isinstance(value, int) for value in arguments.values()):
                assert np.prod(list(arguments.values())) == int(last.content)
                assert max(arguments.values()) > TABLE
        if message.content == NO_PRODUCT:
            assert not {"multiply", "product", "times", "mul", "multiply_numbers"} & set(offered)


def test_every_kind_and_effort_occurs():
    random = np.random.default_rng(0)
    drawn = [conversation(random) for _ in range(2000)]
    efforts = [messages[0].content.effort for messages in drawn]
    for effort, share in EFFORTS.items():
        assert efforts.count(effort) / len(drawn) == pytest.approx(share / sum(EFFORTS.values()), abs=0.04)
    assert sum(KINDS.values()) == pytest.approx(1)
    assert any(m.recipient == "functions.multiply" for messages in drawn for m in messages)
    assert any(m.content == NO_PRODUCT for messages in drawn for m in messages)


# The tokenizer


def test_the_committed_tokenizer_is_what_the_code_makes():
    pytest.importorskip("tokenizers")
    assert trained() == json.loads(TOKENIZER.read_text(encoding="utf-8"))


def test_the_package_that_trains_it_is_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(minioss.InputError, match='needs the package tokenizers: pip install "minioss'):
        trained()


def test_ids_are_ranks_and_the_merges_are_written():
    vocabulary = tokenizer_json.read(TOKENIZER)
    content = json.loads(TOKENIZER.read_text(encoding="utf-8"))
    assert sorted(vocabulary.ranks.values()) == list(range(VOCABULARY - tokenizer_json.SPECIAL_COUNT))
    assert sorted(vocabulary.special.values()) == list(range(VOCABULARY - tokenizer_json.SPECIAL_COUNT, VOCABULARY))
    assert [content["model"]["vocab"][one + other] for one, other in content["model"]["merges"]] == list(
        range(256, VOCABULARY - tokenizer_json.SPECIAL_COUNT)
    )


@given(st.text())
def test_text_comes_back(text):
    assert tokenizer().decode(tokenizer().encode_ordinary(text)) == text


@given(st.text(alphabet="0123456789+-=.,: ab"))
def test_digits_stand_alone(text):
    assert all(len(piece) == 1 for piece in pieces(text) if re.search(r"\d", piece))


@given(st.text(alphabet="ABCDEFGHIJKLMNOPQRSTUVWXYZ ", max_size=30))
def test_capitals_are_not_merged(text):
    assert all(len(piece.strip()) <= 1 for piece in pieces(text))


# Batches


def test_batches_depend_on_seed_and_step_alone():
    first = batch(1, 3)
    batch(1, 4)
    again, other, of_another_seed = batch(1, 3), batch(1, 4), batch(2, 3)
    for one, same, different, third in zip(first, again, other, of_another_seed, strict=True):
        assert np.array_equal(one, same) and not np.array_equal(one, different) and not np.array_equal(one, third)


def test_a_batch_is_its_texts_one_after_the_other():
    tokens, targets, weights, lengths = batch(1, 3)
    drawn = texts(np.random.default_rng([1, 3]))
    assert [len(text.ids) - 1 for text in drawn] == lengths.tolist() and lengths.sum() == len(tokens)
    cuts = np.cumsum(lengths)[:-1]
    for text, *parts in zip(drawn, *(np.split(part, cuts) for part in (tokens, targets, weights)), strict=True):
        assert parts[0].tolist() == text.ids[:-1] and parts[1].tolist() == text.ids[1:]
        assert np.allclose(parts[2] / parts[2].max() * max(text.weights), text.weights[1:], rtol=1e-6)
    assert weights.sum() == pytest.approx(1) and weights.dtype == np.float32
    assert tokens.min() >= 0 and tokens.max() < VOCABULARY


@given(seeds)
@settings(max_examples=20)
def test_texts_end_where_they_should_and_replies_count_more(random):
    drawn = texts(random)
    passages = [text for text in drawn if set(text.weights) == {1} and len(text.ids) == 513]
    ends = {encoded(end)[0] for end in ("<|endoftext|>", "<|return|>", "<|call|>")}
    assert all(text.ids[-1] in ends for text in drawn if text not in passages)
    assert {max(text.weights) for text in drawn} == {1, REPLY_WEIGHT}
    shares = [sum(len(text.ids) == 513 for text in half) for half in (drawn[: len(drawn) // 2 + 1], drawn)]
    assert shares == [1, 2] == [1, len(passages)]


@given(seeds, st.integers(1, 2000))
@settings(max_examples=40)
def test_passages_begin_with_a_paragraph(random, length):
    text = tokenizer().decode(passage(random, length)[:-1])
    assert not text or text[0] != " " and len(passage(random, length)) == length


def test_the_tales_are_encoded_once_and_whole():
    ids, starts = tale_tokens()
    assert tokenizer().decode(ids.tolist()) == "".join(f"{text}<|endoftext|>" for text in tales())
    assert len(starts) == sum(text.count("\n") + 1 for text in tales())


# What is held out


@given(seeds, st.sampled_from(sorted(EVALUATED)))
def test_what_is_trained_on_is_never_asked(random, name):
    kind = EVALUATED[name]
    operands = draw_operands(random, kind)
    assert not is_held_out(kind, operands)
    if not kind.ordered:
        assert not is_held_out(kind, operands[::-1])


def test_conversations_hold_no_question_of_the_evaluation():
    """By what is asked, whatever the phrasing: sums in either order, words, letters."""
    random = np.random.default_rng(0)
    asked = {
        tuple(sorted(re.findall(r"\d+", m.content)))
        for _ in range(3000)
        for m in conversation(random)
        if m.role == "user" and re.search(r"\+|plus|[Aa]dd|sum", m.content)
    }
    held_out = held_out_operands(random, PROBLEMS["add"], 500)
    assert len(asked) > 500 and not asked & {tuple(sorted(map(str, operands))) for operands in held_out}


@pytest.mark.parametrize("name", EVALUATED)
def test_there_are_enough_questions(name):
    functions = name == "multiply"
    by_effort = [questions(name, effort, 500, functions) for effort in ("high", "low")]
    asked = [[question.messages[-1].content for question in some] for some in by_effort]
    assert asked[0] == asked[1] and len(asked[0]) == len(set(asked[0])) == 500
    operands = held_out_operands(np.random.default_rng(1), EVALUATED[name], 500)
    different = 277 if name == "sort" else 500  # words of up to five letters
    assert (
        len(operands) == 500
        and len(set(operands)) == different
        and all(is_held_out(EVALUATED[name], each) for each in operands)
    )
    for question in by_effort[0]:
        assert (question.call is not None) == (question.result is not None) == functions
        assert isinstance(question.answer, str) and question.answer


def test_a_question_with_a_function_that_it_does_not_need():
    question = questions("add", "high", 1, functions=True)[0]
    assert question.call is None and isinstance(question.messages[1].content, Developer)


def test_products_are_asked_for_with_the_names_that_the_function_has():
    for question in questions("multiply", "medium", 50, functions=True):
        (namespace,) = question.messages[1].content.namespaces
        name = question.call.recipient.removeprefix("functions.")
        function = next(function for function in namespace.functions if function.name == name)
        assert list(json.loads(question.call.content)) == list(function.parameters["required"])
        assert question.result.content == question.answer
        assert question.messages[-1].role == "user"
