"""The two ways in which minioss says no."""


class InputError(ValueError):
    """What was given is wrong: a folder, a file, a name, a number.

    The message says what was found, what was expected, and where.
    """


class NotFiniteError(ArithmeticError):
    """A layer gave NaN or infinity; the message names the layer and, where it can, the expert."""
