"""A page to look inside: what the model did with each token of a text, to be opened in any browser."""
