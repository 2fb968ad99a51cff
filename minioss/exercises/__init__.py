"""Exercises, and a checker that answers at once.

>>> from minioss import exercises
>>> exercises.check("attention", lambda n, query_heads, kv_heads: n % kv_heads)
Not yet. Heads of a group are neighbours: divide, do not take the rest.
>>> exercises.check("attention", lambda n, query_heads, kv_heads: n // (query_heads // kv_heads))
Right.

"""

import difflib
from typing import Any

from minioss.errors import InputError
from minioss.exercises import architecture, use
from minioss.exercises.checking import Exercise, Judgement, judge
from minioss.exercises.use import mystery

EXERCISES: dict[str, Exercise] = {each.name: each for each in (*architecture.EXERCISES, *use.EXERCISES)}

__all__ = ["EXERCISES", "Exercise", "Judgement", "check", "judge", "mystery"]


def check(name: str, answer: Any) -> None:
    """Print whether an answer is right, and if not, what may be wrong with it.

    Parameters
    ----------
    name : of the exercise; see docs/exercises.md
    answer : a function, as the task says, or a value where it asks for one

    Raises
    ------
    InputError
        Where there is no such exercise.
    """
    if name not in EXERCISES:
        close = difflib.get_close_matches(str(name), EXERCISES, n=1)
        raise InputError(
            f"there is no exercise {name!r}; {f'did you mean {close[0]}?' if close else ', '.join(EXERCISES)}"
        )
    print(judge(EXERCISES[name], answer).said)
