"""A trace: every named step of the model on the way from tokens to logits.

The marked functions are wrapped for one call of the model, and what they return is kept. The
blocks know nothing of it. A long prompt goes through in pieces: what they give is joined along T,
and scores and weights are placed in the columns of the keys that they belong to.

Where other arrays are given to go on with instead, each step is computed from those that go into it:
so an error is charged to the step that makes it, and not to all that follow (teacher forcing).
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minioss import kernels
from minioss.config import Config
from minioss.errors import InputError
from minioss.experts import ExpertWeights
from minioss.model import Model
from minioss.rope import Rotation
from minioss.router import Routing
from minioss.transformer import LayerWeights
from minioss.verify.keys import keys

ALWAYS = ("tokens", "logits")


def trace(
    model: Model, ids: ArrayLike, wanted: Sequence[str] = ("*",), instead: Mapping[str, NDArray] | None = None
) -> dict[str, NDArray]:
    """Run a model on one prompt and keep what every named step gives.

    Parameters
    ----------
    model : runs in NumPy, in its own dtype and precision
    ids : integers, (T,)
    wanted : names of arrays, or patterns such as ``"layers.3.*"``; tokens and logits come always
    instead : whole arrays by name: each is handed on in place of what the model computed (and is kept in the
        trace), so that the later steps are computed from it. router.experts is the choice that is then made

    Returns
    -------
    dict
        Arrays by name, in the order in which they are computed: see docs/trace-format.md.

    Raises
    ------
    InputError
        Where the ids are wrong, a pattern fits no name, or the model insists on Cython.
    """
    recorder = Recorder(chosen_names(model.config, wanted), instead or {})
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
    """Keeps what marked functions return, by name: a list of pieces each. Hands on other arrays where it has them."""

    def __init__(self, names: set[str], instead: Mapping[str, NDArray]) -> None:
        self.names = names
        self.instead = instead
        self.parts: dict[str, list[NDArray]] = defaultdict(list)
        self._tokens = slice(0, 0)  # those of this piece
        self._queries = 0  # of them, how many attention has done
        self._place = ""  # "layers.3." within that layer
        self._norms: Iterator[str] = iter(())
        self._routing: Routing
        self._slots: dict[str, NDArray] = {}

    def wrappers(self) -> dict[str, Callable]:
        """What goes around each marked function."""
        return {
            "transformer.embed": self._handing_on("embedding"),
            "rope.rotation": self._rotation,
            "transformer.layer": self._layer,
            "rmsnorm.rms_norm": self._norm,
            "attention.project": self._handing_on("attention.q", "attention.k", "attention.v"),
            "attention.turn": self._handing_on("attention.q_rope", "attention.k_rope"),
            "attention.softmax_with_sink": self._softmax,
            "attention.attend": self._handing_on("attention.mixed"),
            "attention.attention": self._handing_on("attention.output"),
            "linear.exact_linear": self._handing_on("router.logits"),
            "router.top_k": self._choice,
            "router.route": self._route,
            "experts.mix_experts": self._mix_experts,
            "experts.expert": self._expert,
            "experts.swiglu": self._swiglu,
            "transformer.unembed": self._unembed,
        }

    def _keep(self, key: str, values: NDArray) -> NDArray:
        """Keep a piece, and give what goes on in its place."""
        name = self._place + key
        if name in self.names:
            self.parts[name].append(values)
        return self.instead[name][self._tokens].astype(values.dtype) if name in self.instead else values

    def _handing_on(self, *names: str) -> Callable:
        """A wrapper that keeps the result, or each of several, and hands it on."""

        def wrapper(right: Callable, *given: Any) -> Any:
            result = right(*given)
            if len(names) == 1:
                return self._keep(names[0], result)
            return tuple(self._keep(name, values) for name, values in zip(names, result, strict=True))

        return wrapper

    def _rotation(self, right: Callable, positions_T: NDArray, *given: Any) -> Rotation:
        self._tokens = slice(self._tokens.stop, self._tokens.stop + len(positions_T))
        cos_Tk, sin_Tk = right(positions_T, *given)
        return Rotation(self._keep("rope.cos", cos_Tk), self._keep("rope.sin", sin_Tk))

    def _layer(self, right: Callable, x_TD: NDArray, weights: LayerWeights, index: int, *given: Any) -> NDArray:
        self._place, self._norms = f"layers.{index}.", iter(("attention_norm", "experts_norm"))
        self._queries = 0
        y_TD = self._keep("output", right(x_TD, weights, index, *given))
        self._place = ""
        return y_TD

    def _norm(self, right: Callable, *given: Any) -> NDArray:
        return self._keep(next(self._norms, "norm"), right(*given))

    def _softmax(self, right: Callable, scores_HGTS: NDArray, sink_HG11: NDArray) -> NDArray:
        H, G, T, S = scores_HGTS.shape
        first = self._tokens.start + self._queries
        self._queries += T
        block = np.s_[:, first : first + T, first + T - S : first + T]
        sink_HGT1 = np.broadcast_to(sink_HG11, (H, G, T, 1))
        name = self._place + "attention.scores"
        if name in self.names:
            self.parts[name].append(np.concatenate([scores_HGTS, sink_HGT1], axis=-1).reshape(H * G, T, S + 1))
        if name in self.instead:
            scores_HGTS[:] = self.instead[name][block].reshape(H, G, T, S)
            sink_HG11 = self.instead[name][:, first : first + T, -1:].reshape(H, G, T, 1).astype(scores_HGTS.dtype)
        weights_HGTS = right(scores_HGTS, sink_HG11)
        name = self._place + "attention.weights"
        if name in self.names:
            self.parts[name].append(weights_HGTS.reshape(H * G, T, S))
        if name in self.instead:
            weights_HGTS = self.instead[name][block].reshape(H, G, T, S).astype(weights_HGTS.dtype)
        return weights_HGTS

    def _choice(self, right: Callable, *given: Any) -> NDArray:
        name = self._place + "router.experts"
        return self.instead[name][self._tokens] if name in self.instead else right(*given)

    def _route(self, right: Callable, *given: Any) -> Routing:
        expert_TA, weight_TA = right(*given)
        return Routing(self._keep("router.experts", expert_TA), self._keep("router.weights", weight_TA))

    def _mix_experts(self, right: Callable, x_TD: NDArray, routing: Routing, *given: Any) -> NDArray:
        self._routing, self._slots = routing, {}
        y_TD = right(x_TD, routing, *given)
        for name, values_TAX in self._slots.items():
            self.parts[name].append(values_TAX)
        return self._keep("experts.output", y_TD)

    def _expert(self, right: Callable, x_TD: NDArray, weights: ExpertWeights, index: int, *given: Any) -> NDArray:
        self._chosen = np.nonzero(self._routing.expert_TA == index)
        return self._keep_in_slots("experts.down", right(x_TD, weights, index, *given))

    def _swiglu(self, right: Callable, gate_up_T2F: NDArray, *given: Any) -> NDArray:
        gate_up_T2F = self._keep_in_slots("experts.gate_up", gate_up_T2F)
        return self._keep_in_slots("experts.activation", right(gate_up_T2F, *given))

    def _keep_in_slots(self, key: str, values_NX: NDArray) -> NDArray:
        """Where the tokens of one expert lie among all tokens and their chosen slots: (T, A, X)."""
        name = self._place + key
        if name in self.names:
            shape = (*self._routing.expert_TA.shape, values_NX.shape[1])
            self._slots.setdefault(name, np.zeros(shape, values_NX.dtype))[self._chosen] = values_NX
        if name in self.instead:
            return self.instead[name][self._tokens][self._chosen].astype(values_NX.dtype)
        return values_NX

    def _unembed(self, right: Callable, *given: Any) -> NDArray:
        self._tokens = slice(0, self._tokens.stop)
        return self._keep("logits", right(*given))
