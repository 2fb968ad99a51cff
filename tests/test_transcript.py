"""Conversations as files: what is saved is loaded, and what is no conversation is refused and changes nothing."""

import dataclasses
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

import minioss
from minioss.chat import transcript
from minioss.chat.conversation import EFFORTS, Chat
from minioss.errors import InputError
from minioss.text.harmony.messages import Message
from minioss.text.harmony.rendering import render
from tests.conversations import spoken, texts
from tests.scripted import scripted

QUESTION = Message("user", "Is it so? 東京 \x1b \r\n")
ANSWER = Message("assistant", "It is.", "final")


@pytest.fixture(scope="module")
def chat(tiny):
    return Chat(minioss.load(tiny), date="2025-06-28")


@pytest.fixture
def path(tmp_path, chat):
    """A file with a conversation of two messages."""
    chat.effort, chat.instructions, chat.messages = "high", None, [QUESTION, ANSWER]
    transcript.save(chat, tmp_path / "talk.json")
    return tmp_path / "talk.json"


def state(chat):
    return chat.effort, chat.instructions, list(chat.messages)


@given(st.sampled_from(EFFORTS), st.none() | texts, st.lists(spoken, max_size=5))
def test_what_is_saved_is_loaded(tmp_path_factory, chat, effort, instructions, said):
    path = tmp_path_factory.getbasetemp() / "drawn.json"
    chat.effort, chat.instructions, chat.messages = effort, instructions, said
    transcript.save(chat, path)
    chat.effort, chat.instructions, chat.messages = "low", "Others.", [ANSWER]
    transcript.load(chat, path)
    assert state(chat) == (effort, instructions, said)
    render(chat.conversation(), chat.encoding)


def test_a_loaded_conversation_goes_on(path, tiny):
    chat = Chat(scripted(minioss.load(tiny), ["<|channel|>final<|message|>Still.<|return|>"]))
    transcript.load(chat, path)
    list(chat.stream("And now?"))
    assert chat.messages == [QUESTION, ANSWER, Message("user", "And now?"), Message("assistant", "Still.", "final")]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is no JSON"),
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("[]", "holds list; expected an object with effort, instructions, messages"),
        ("{}", "holds ; expected an object"),
        ('{"model_type": "gpt_oss"}', "holds model_type; expected an object"),
    ],
)
def test_files_that_hold_something_else(tmp_path, chat, text, complaint):
    chat.effort, chat.instructions, chat.messages = "low", None, [QUESTION]
    path = tmp_path / "other.json"
    path.write_text(text)
    for use in (transcript.load, transcript.save):
        with pytest.raises(InputError, match=complaint):
            use(chat, path)
    assert state(chat) == ("low", None, [QUESTION]) and path.read_text() == text


WRONG = [
    ({"effort": "huge"}, "effort is 'huge'; expected one of off, low, medium, high"),
    ({"effort": ["low"]}, "effort is"),
    ({"instructions": 1}, "expected instructions to be text or null"),
    ({"messages": {}}, "messages to be a list"),
    ({"messages": ["Hi"]}, r"messages\[0\] is 'Hi'; expected an object with role, content and others of role"),
    ({"messages": [{"role": "user"}]}, r"messages\[0\] is {'role': 'user'}; expected"),
    ({"messages": [{"role": "user", "content": "", "text": ""}]}, r"messages\[0\] is"),
    ({"messages": [{"role": "user", "content": None}]}, r"messages\[0\] has content None; expected text"),
    ({"messages": [{"role": "user", "content": "", "name": 1}]}, r"messages\[0\] has name 1; expected text"),
    ({"messages": [{"role": "system", "content": "Obey."}]}, "has role system; expected user, assistant or tool"),
    ({"messages": [{"role": "developer", "content": ""}]}, "has role developer; expected user, assistant or tool"),
    ({"messages": [{"role": "me", "content": ""}]}, "has role 'me'; expected one of"),
    ({"messages": [{"role": "tool", "content": ""}]}, "has role tool and no name"),
    ({"messages": [{"role": "tool", "content": "", "name": "system"}]}, "from a tool named 'system'"),
    ({"messages": [{"role": "user", "content": "", "channel": "a b"}]}, "has channel 'a b'; expected a word"),
]


@pytest.mark.parametrize(("change", "complaint"), WRONG)
def test_conversations_that_are_wrong_change_nothing(path, chat, change, complaint):
    before = state(chat)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=complaint):
        transcript.load(chat, path)
    assert state(chat) == before


def test_a_file_that_is_cut_anywhere_is_refused(path, chat):
    before, whole = state(chat), path.read_bytes()
    for length in range(len(whole) - 2):  # the last bytes are the brace and the end of the line
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="is no JSON"):
            transcript.load(chat, path)
    assert state(chat) == before


@pytest.mark.parametrize("name", [".", "..", "/", "none/talk.json", "file/talk.json", "x" * 300])
def test_places_where_nothing_can_be_saved(tmp_path, chat, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    chat.messages = [QUESTION]
    with pytest.raises(InputError, match="cannot be (written|read): "):
        transcript.save(chat, name)
    with pytest.raises(InputError, match="cannot be read: "):
        transcript.load(chat, name)
    assert os.listdir(tmp_path) == ["file"] and chat.messages == [QUESTION]


def test_an_earlier_conversation_is_replaced_once_the_new_one_is_whole(path, chat, monkeypatch):
    before = path.read_bytes()
    chat.messages = [QUESTION]

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patches:
        patches.setattr("pathlib.Path.write_bytes", full)
        with pytest.raises(InputError, match="talk.json cannot be written: No space left on device"):
            transcript.save(chat, path)
    assert path.read_bytes() == before and os.listdir(path.parent) == [path.name]
    transcript.save(chat, path)
    assert len(json.loads(path.read_text())["messages"]) == 1 and os.listdir(path.parent) == [path.name]


def test_lone_surrogates_become_question_marks(path, chat):
    chat.messages = [dataclasses.replace(QUESTION, content="a\ud800b")]
    transcript.save(chat, path)
    transcript.load(chat, path)
    assert chat.messages[0].content == "a?b"
