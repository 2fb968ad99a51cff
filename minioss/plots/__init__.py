"""Pictures of a model at work: functions that take arrays or a trace and return matplotlib Axes.

Each takes ``ax=`` to draw where one wants; without it there is a new figure. matplotlib is imported
when a picture is drawn, and is the extra ``notebook``. What each picture shows stands in docs/plots.md.
"""

from minioss.plots.attention import attention_map, sink_mass, windows
from minioss.plots.cache import cache_size
from minioss.plots.conversation import timeline, token_kinds
from minioss.plots.deviation import deviations
from minioss.plots.experts import co_activation, expert_load, load_by_channel, router_entropy
from minioss.plots.labels import token_labels
from minioss.plots.lens import lens, logit_lens
from minioss.plots.mxfp4 import number_line, rounding_error
from minioss.plots.parts import bytes_per_token
from minioss.plots.rope import wavelengths
from minioss.plots.sampling import temperatures
from minioss.plots.stream import stream_sizes
from minioss.plots.training import loss_curve, read_losses

__all__ = [
    "attention_map",
    "bytes_per_token",
    "cache_size",
    "co_activation",
    "deviations",
    "expert_load",
    "lens",
    "load_by_channel",
    "logit_lens",
    "loss_curve",
    "number_line",
    "read_losses",
    "rounding_error",
    "router_entropy",
    "sink_mass",
    "stream_sizes",
    "temperatures",
    "timeline",
    "token_kinds",
    "token_labels",
    "wavelengths",
    "windows",
]
