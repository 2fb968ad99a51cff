"""What a trace holds of a layer, or of all of them."""

import re
from collections.abc import Mapping

from numpy.typing import NDArray

from minioss.errors import InputError


def of_layers(trace: Mapping[str, NDArray], name: str) -> dict[int, NDArray]:
    """What a trace holds of each layer under one name, such as ``"router.experts"``, by the layer's number.

    Raises
    ------
    InputError
        Where it holds nothing of that name.
    """
    found = {}
    for key, values in trace.items():
        if match := re.fullmatch(rf"layers\.(\d+)\.{re.escape(name)}", key):
            found[int(match[1])] = values
    if not found:
        raise InputError(f"the trace has no layers.N.{name}; expected it among what was wanted of minioss.trace")
    return dict(sorted(found.items()))


def of_layer(trace: Mapping[str, NDArray], layer: int, name: str) -> NDArray:
    """One array of one layer of a trace, or an `InputError` that names it."""
    key = f"layers.{layer}.{name}"
    if key not in trace:
        raise InputError(f"the trace has no {key}; expected it among what was wanted of minioss.trace")
    return trace[key]
