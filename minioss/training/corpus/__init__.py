"""What the tiny model is trained on: tales, simple stories, small tasks, calls of functions; and its tokenizer."""
