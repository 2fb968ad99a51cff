"""A trace: every named step of the model on the way from tokens to logits.

The marked functions are wrapped for one call of the model, and what they return is kept. The
blocks know nothing of it. A long prompt goes through in pieces: what they give is joined along T,
and scores and weights are placed in the columns of the keys that they belong to.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minioss import kernels
from minioss.config import Config
from minioss.errors import InputError
from minioss.experts import ExpertWeights
from minioss.model import Model
from minioss.router import Routing
from minioss.transformer import LayerWeights
from minioss.verify.keys import keys

ALWAYS = ("tokens", "logits")


def trace(model: Model, ids: ArrayLike, wanted: Sequence[str] = ("*",)) -> dict[str, NDArray]:
    """Run a model on one prompt and keep what every named step gives.

    Parameters
    ----------
    model : runs in NumPy, in its own dtype and precision
    ids : integers, (T,)
    wanted : names of arrays, or patterns such as ``"layers.3.*"``; tokens and logits come always

    Returns
    -------
    dict
        Arrays by name, in the order in which they are computed: see docs/trace-format.md.

    Raises
    ------
    InputError
        Where the ids are wrong, a pattern fits no name, or the model insists on Cython.
    """
    recorder = Recorder(chosen_names(model.config, wanted))
    with kernels.wrapping(recorder.wrappers()):
        model(ids)
    recorder.parts["tokens"] = [np.asarray(ids)]
    return {name: joined(name, recorder.parts[name]) for name in keys(model.config) if name in recorder.parts}


def chosen_names(config: Config, wanted: Sequence[str]) -> set[str]:
    """The names that any of the patterns fits, tokens and logits among them."""
    names = keys(config)
    for pattern in wanted:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise InputError(f"no array of this model's trace is called {pattern!r}; see docs/trace-format.md")
    return {name for name in names if any(fnmatchcase(name, pattern) for pattern in (*ALWAYS, *wanted))}


def joined(name: str, parts: Sequence[NDArray]) -> NDArray:
    """The pieces of an array as one."""
    if name.endswith("attention.scores"):
        sinks = np.concatenate([part[..., -1:] for part in parts], axis=1)
        return np.concatenate([placed([part[..., :-1] for part in parts], -np.inf), sinks], axis=-1)
    return placed(parts, 0) if name.endswith("attention.weights") else np.concatenate(parts)


def placed(blocks: Sequence[NDArray], elsewhere: float) -> NDArray:
    """Blocks of queries by keys, (n, T, S) each, in their place among all T queries and all keys.

    In every block the last query stands at the last key.
    """
    T = sum(block.shape[1] for block in blocks)
    whole_nTT = np.full((len(blocks[0]), T, T), elsewhere, blocks[0].dtype)
    end = 0
    for block in blocks:
        _, queries, seen = block.shape
        end += queries
        whole_nTT[:, end - queries : end, end - seen : end] = block
    return whole_nTT


class Recorder:
    """Keeps what marked functions return, by name: a list of pieces each."""

    def __init__(self, names: set[str]) -> None:
        self.names = names
        self.parts: dict[str, list[NDArray]] = defaultdict(list)
        self._place = ""  # "layers.3." within that layer
        self._norms: Iterator[str] = iter(())
        self._routing: Routing
        self._slots: dict[str, NDArray] = {}

    def wrappers(self) -> dict[str, Callable]:
        """What goes around each marked function."""
        return {
            "transformer.embed": self._saving("embedding"),
            "rope.rotation": self._saving("rope.cos", "rope.sin"),
            "transformer.layer": self._layer,
            "rmsnorm.rms_norm": self._norm,
            "attention.project": self._saving("attention.q", "attention.k", "attention.v"),
            "attention.turn": self._saving("attention.q_rope", "attention.k_rope"),
            "attention.softmax_with_sink": self._softmax,
            "attention.attend": self._saving("attention.mixed"),
            "attention.attention": self._saving("attention.output"),
            "linear.exact_linear": self._saving("router.logits"),
            "router.route": self._saving("router.experts", "router.weights"),
            "experts.mix_experts": self._mix_experts,
            "experts.expert": self._expert,
            "experts.swiglu": self._swiglu,
            "transformer.unembed": self._saving("logits"),
        }

    def _keep(self, key: str, values: NDArray) -> None:
        name = self._place + key
        if name in self.names:
            self.parts[name].append(values)

    def _saving(self, *names: str) -> Callable:
        """A wrapper that keeps the result, or each of several, and hands it on."""

        def wrapper(right: Callable, *given: Any) -> Any:
            result = right(*given)
            for name, values in zip(names, [result] if len(names) == 1 else result, strict=True):
                self._keep(name, values)
            return result

        return wrapper

    def _layer(self, right: Callable, x_TD: NDArray, weights: LayerWeights, index: int, *given: Any) -> NDArray:
        self._place, self._norms = f"layers.{index}.", iter(("attention_norm", "experts_norm"))
        y_TD = right(x_TD, weights, index, *given)
        self._keep("output", y_TD)
        self._place = ""
        return y_TD

    def _norm(self, right: Callable, *given: Any) -> NDArray:
        normed_TD = right(*given)
        self._keep(next(self._norms, "norm"), normed_TD)
        return normed_TD

    def _softmax(self, right: Callable, scores_HGTS: NDArray, sink_HG11: NDArray) -> NDArray:
        H, G, T, S = scores_HGTS.shape
        sinks_HGT1 = np.broadcast_to(sink_HG11, (H, G, T, 1))
        self._keep("attention.scores", np.concatenate([scores_HGTS, sinks_HGT1], axis=-1).reshape(H * G, T, S + 1))
        weights_HGTS = right(scores_HGTS, sink_HG11)
        self._keep("attention.weights", weights_HGTS.reshape(H * G, T, S))
        return weights_HGTS

    def _mix_experts(self, right: Callable, x_TD: NDArray, routing: Routing, *given: Any) -> NDArray:
        self._routing, self._slots = routing, {}
        y_TD = right(x_TD, routing, *given)
        for key, values_TAX in self._slots.items():
            self._keep(key, values_TAX)
        self._keep("experts.output", y_TD)
        return y_TD

    def _expert(self, right: Callable, x_TD: NDArray, weights: ExpertWeights, index: int, *given: Any) -> NDArray:
        self._chosen = np.nonzero(self._routing.expert_TA == index)
        y_TD = right(x_TD, weights, index, *given)
        self._place_in_slots("experts.down", y_TD)
        return y_TD

    def _swiglu(self, right: Callable, gate_up_T2F: NDArray, *given: Any) -> NDArray:
        activation_TF = right(gate_up_T2F, *given)
        self._place_in_slots("experts.gate_up", gate_up_T2F)
        self._place_in_slots("experts.activation", activation_TF)
        return activation_TF

    def _place_in_slots(self, key: str, values_NX: NDArray) -> None:
        """Where the tokens of one expert lie among all tokens and their chosen slots: (T, A, X)."""
        if self._place + key in self.names:
            shape = (*self._routing.expert_TA.shape, values_NX.shape[1])
            self._slots.setdefault(key, np.zeros(shape, values_NX.dtype))[self._chosen] = values_NX
