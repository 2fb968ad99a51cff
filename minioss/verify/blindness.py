"""What a test could not have seen: mistakes that change nothing on these tokens, in these arrays.

That is measured: the reference makes the mistake, and what it is off by then is judged as the port was.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from minioss.config import SLIDING, Config
from minioss.rope import rotation
from minioss.verify.faults import CATALOGUE
from minioss.verify.reference import Arrays, Reference


class Probe(NamedTuple):
    """A mistake that a test should be able to see.

    Parameters
    ----------
    name : in the catalogue
    possible : whether it would be a mistake in a model of this shape
    cure : what shows it
    decisive : without it, the test proves nothing
    """

    name: str
    possible: Callable[[Config], bool]
    cure: str
    decisive: bool = False


def _has_window(config: Config) -> bool:
    return SLIDING in config.layer_types and config.sliding_window < config.max_position_embeddings


def _rope_with(**changes: Any) -> Callable[[Config], bool]:
    """Whether RoPE would be another one with these fields."""

    def differs(config: Config) -> bool:
        far = np.array([config.max_position_embeddings])
        ropes = config.rope, replace(config.rope, **changes)
        return not np.allclose(*(rotation(far, rope, config.head_dim, np.float64) for rope in ropes), rtol=0, atol=1e-9)

    return differs


def _always(config: Config) -> bool:
    return True


WINDOW = "give more tokens than sliding_window, better three times as many"
FARTHER = "give more tokens, or intermediates, or compute in float32"
PROBES = (
    Probe("window-missing", _has_window, WINDOW, decisive=True),
    Probe("rope-neighbours", _always, "give more tokens", decisive=True),
    Probe("window-plus-one", _has_window, WINDOW),
    Probe("yarn-off", _rope_with(rope_type="default"), FARTHER),
    Probe("yarn-truncated", _rope_with(truncate=True), FARTHER),
    Probe("rope-positions-bfloat16", _always, "give more than 256 tokens"),
    Probe("sink-dropped", _always, FARTHER),
    Probe("gate-clamp-missing", _always, "give more tokens, or a checkpoint whose activations are larger"),
    Probe("up-clamp-missing", _always, "give more tokens, or a checkpoint whose activations are larger"),
    Probe("norm-eps-1e-6", lambda config: config.rms_norm_eps != 1e-6, "compute in float32"),
)


class Blindness(NamedTuple):
    """What was not seen, and which share of the probes was."""

    decisive: tuple[str, ...]
    remarks: tuple[str, ...]
    seen: float


def blindness(reference: Reference, is_wrong: Callable[[Arrays], bool]) -> Blindness:
    """Make each possible mistake of the probes; ``is_wrong`` judges the arrays of a port that makes it."""
    probes = [probe for probe in PROBES if probe.possible(reference.model.config)]
    made = {probe: reference.predicted((probe.name,)) for probe in probes}
    unseen = [probe for probe, arrays in made.items() if arrays and not is_wrong(arrays)]
    decisive, remarks = (
        tuple(_sentence(probe) for probe in unseen if probe.decisive is wanted) for wanted in (True, False)
    )
    return Blindness(decisive, remarks + _experts_never_chosen(reference), 1 - len(unseen) / len(probes))


def _sentence(probe: Probe) -> str:
    return f"This test cannot see {probe.name} ({CATALOGUE[probe.name].wrong[:-1]}): {probe.cure}."


def _experts_never_chosen(reference: Reference) -> tuple[str, ...]:
    config, routers = reference.model.config, reference.routers
    chosen = [np.argsort(-reference.exact[name], axis=-1)[:, : config.num_experts_per_tok] for name in routers]
    count = config.num_local_experts * len(routers)
    never = count - sum(len(np.unique(chosen_TA)) for chosen_TA in chosen)
    if never == 0:
        return ()
    return (f"{never} of {count} experts were never chosen: whatever is wrong with them does not show.",)
