"""openai-harmony reads the messages of a saved conversation as they are."""

import json

import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st

import minioss
from minioss.chat import transcript
from minioss.chat.conversation import Chat
from minioss.text.harmony.rendering import render
from tests.conversations import spoken

harmony = pytest.importorskip("openai_harmony")

KEEP = harmony.RenderConversationConfig(auto_drop_analysis=False)


@pytest.fixture(scope="module")
def chat(tiny):
    return Chat(minioss.load(tiny))


@pytest.fixture(scope="module")
def official(tiktoken_ranks):
    return harmony.load_harmony_encoding("HarmonyGptOss")


@pytest.fixture(scope="module")
def ours(tiktoken_ranks):
    return tiktoken.get_encoding("o200k_harmony")


@given(st.lists(spoken, max_size=5))
def test_saved_messages_are_theirs(tmp_path_factory, chat, official, ours, said):
    path = tmp_path_factory.getbasetemp() / "saved.json"
    chat.messages = said
    transcript.save(chat, path)
    theirs = [harmony.Message.from_dict(entry) for entry in json.loads(path.read_text())["messages"]]
    rendered = official.render_conversation(harmony.Conversation.from_messages(theirs), KEEP)
    assert rendered == render(said, ours)
