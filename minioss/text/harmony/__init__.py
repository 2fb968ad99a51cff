"""Harmony, the format that gpt-oss was trained on: messages to token ids, and token ids to messages."""
