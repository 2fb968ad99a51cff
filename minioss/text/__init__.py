"""Text in and out: the tokenizer, sampling, generation."""
