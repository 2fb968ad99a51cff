"""Talking to the model, and the tools that it may call."""
