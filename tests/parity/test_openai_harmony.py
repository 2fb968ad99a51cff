"""openai-harmony gives the same tokens for the same messages, and the same messages for the same tokens."""

from dataclasses import replace

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st

from minioss.text.harmony.builtin import BROWSER, PYTHON
from minioss.text.harmony.messages import Developer, Function, Message, Namespace, System
from minioss.text.harmony.parsing import Parser
from minioss.text.harmony.rendering import content_text, render, render_for_training, render_prompt
from tests.conversations import conversations, schemas

harmony = pytest.importorskip("openai_harmony")

KEEP = harmony.RenderConversationConfig(auto_drop_analysis=False)


@pytest.fixture(scope="module")
def official(tiktoken_ranks):
    return harmony.load_harmony_encoding("HarmonyGptOss")


@pytest.fixture(scope="module")
def ours(tiktoken_ranks):
    return tiktoken.get_encoding("o200k_harmony")


# Our messages as theirs


def namespaces(given):
    def tool(function):
        return harmony.ToolDescription.new(function.name, function.description, function.parameters)

    return {
        each.name: harmony.ToolNamespaceConfig(
            name=each.name, description=each.description, tools=list(map(tool, each.functions))
        )
        for each in given
    } or None


def content(given):
    if isinstance(given, System):
        return harmony.SystemContent(
            model_identity=given.identity,
            reasoning_effort=given.effort and given.effort.capitalize(),
            conversation_start_date=given.date,
            knowledge_cutoff=given.knowledge_cutoff,
            channel_config=harmony.ChannelConfig.require_channels(list(given.channels)),
            tools=namespaces(given.namespaces),
        )
    if isinstance(given, Developer):
        return harmony.DeveloperContent(instructions=given.instructions, tools=namespaces(given.namespaces))
    return harmony.TextContent(text=given)


def conversation(messages):
    return harmony.Conversation.from_messages(
        [
            harmony.Message(
                author=harmony.Author(role=message.role, name=message.name),
                content=[content(message.content)],
                channel=message.channel,
                recipient=message.recipient,
                content_type=message.content_type,
            )
            for message in messages
        ]
    )


def as_ours(message):
    """Their message as ours."""
    (text,) = message.content
    role, name = message.author.role.value, message.author.name
    return Message(role, text.text, message.channel, message.recipient, message.content_type, name)


# Rendering


def test_the_same_tokens(official, ours):
    @settings(max_examples=2000)
    @given(conversations)
    def same(messages):
        theirs = conversation(messages)
        assert render(messages, ours) == official.render_conversation(theirs, KEEP)
        assert render_for_training(messages, ours) == official.render_conversation_for_training(theirs, KEEP)
        prompt = official.render_conversation_for_completion(theirs, harmony.Role.ASSISTANT)
        assert render_prompt(messages, ours) == prompt

    same()
