"""Exercises: what is right is accepted, what people often write is refused with its own hint."""

import re
from pathlib import Path

import numpy as np
import pytest

from minioss import exercises
from minioss.errors import InputError
from minioss.exercises import EXERCISES, judge
from minioss.training.corpus.arithmetic import addition

SLIPS = [(name, slip) for name, exercise in EXERCISES.items() for slip in exercise.slips]
PAGE = (Path(__file__).parent.parent / "docs" / "solutions.md").read_text(encoding="utf-8")
SOLUTIONS = dict(re.findall(r"^## (\w+)\n.*?^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("name", EXERCISES)
def test_the_solution_of_the_page_is_accepted(name):
    names = {}
    exec(SOLUTIONS[name], names)
    assert judge(EXERCISES[name], names["answer"]) == (True, "Right.")


@pytest.mark.parametrize("name, slip", SLIPS, ids=[f"{name}: {slip.hint[:30]}" for name, slip in SLIPS])
def test_what_people_often_write_is_refused_with_its_own_hint(name, slip):
    right, said = judge(EXERCISES[name], slip.answer)
    assert not right and said == f"Not yet. {slip.hint}"


@pytest.mark.parametrize("name", EXERCISES)
def test_nonsense_is_refused(name):
    exercise = EXERCISES[name]
    assert len(exercise.slips) >= 3 and len({slip.hint for slip in exercise.slips}) == len(exercise.slips)
    assert judge(exercise, lambda *_: None).said.startswith("Not yet. You give None; expected")
    assert not judge(exercise, "nothing").right
    assert judge(exercise, lambda *_: 1 / 0).said == "Your function raises ZeroDivisionError: division by zero"


def test_a_wrong_shape_is_told():
    assert (
        judge(EXERCISES["rmsnorm"], lambda x, gain, eps: x[:1]).said == "Not yet. The shape is (1, 5); expected (3, 5)."
    )


def test_an_answer_may_spoil_what_it_is_given(capsys):
    def spoiling(x, gain, eps):
        x /= (x**2).mean(axis=-1, keepdims=True) ** 0.5
        x[:] = 0
        return x

    assert not judge(EXERCISES["rmsnorm"], spoiling).right
    exercises.check("rmsnorm", EXERCISES["rmsnorm"].right)
    assert capsys.readouterr().out == "Right.\n"


def test_the_reasoning_is_what_the_tiny_model_is_taught():
    for a, b in ((347, 85), (9, 999), (0, 0)):
        taught = addition(np.random.default_rng(0), (a, b)).worked
        assert EXERCISES["chat"].right(a, b) == taught


def test_an_unknown_exercise_is_an_error():
    with pytest.raises(InputError, match="did you mean router"):
        exercises.check("rooter", None)
