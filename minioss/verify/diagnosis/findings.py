"""From evidence to an answer: no mistake, this one, one of these, these two together, or one that is not known."""

from collections.abc import Mapping
from typing import NamedTuple

from minioss.verify.comparing import departs_in
from minioss.verify.diagnosis import coarse, exact
from minioss.verify.diagnosis.evidence import Evidence, first_layers, gathered
from minioss.verify.diagnosis.noise import ALIKE, ALIKE_STEP_BY_STEP, Noise, measured
from minioss.verify.faults import CATALOGUE
from minioss.verify.reference import Names, Reference

FLOAT32, ROUNDED = "float32", "bfloat16 or int8"


class Findings(NamedTuple):
    """What was found out about a port.

    Parameters
    ----------
    precision : "float32" or "bfloat16 or int8"; None where no precision explains what is left
    explanations : mistakes that explain the port, together within each, and no better than one another: a right
        port is explained by none at all, and a port that nothing explains has no explanation
    block : where it first departs; None where that is nowhere, or cannot be told
    support : for the first explanation, where that is one mistake
    runner_up : the mistake that explains most among all the others
    unseen : mistakes that would not be found on these tokens in this precision, the largest first, and their effect
        over the noise; not asked where one is found
    alike : how much what is left looks like rounding, from -1 to 1
    """

    precision: str | None
    explanations: list[Names]
    block: str | None
    support: coarse.Support | None
    runner_up: str | None
    unseen: dict[str, float]
    alike: float


def examine(port: Reference) -> Findings:
    """Try every mistake of the catalogue on a port, and pairs of them where one does not do.

    What explains the layer that departs first is mostly what explains all: that is tried first.
    """
    noise, right = measured(port), gathered(port, ())
    departs_K = noise.departs_exactly(right).any(axis=1)
    first = port.names[int(departs_K.argmax())]
    if departs_K.any() and len(port.names) > 1 and first not in ("norm", "logits"):
        layer = int(first.split(".")[1]) if first.startswith("layers.") else 0
        part = first_layers(port, layer + 1)
        found = _examine(part, measured(part))
        if len(found.explanations) == 1 and any(found.explanations) and _explains_all(port, noise, found):
            return found
    return _examine(port, noise)


def _explains_all(port: Reference, noise: Noise, found: Findings) -> bool:
    """Whether what explains the beginning of a port explains the rest."""
    (names,) = found.explanations
    evidence = gathered(port, names)
    if evidence is None:
        return False
    if found.precision == FLOAT32:
        return not noise.departs_exactly(evidence).any()
    return not measured(port, names).departs_coarsely(evidence).any()


def _examine(port: Reference, noise: Noise) -> Findings:
    tried = {names: gathered(port, names) for names in [(), *((name,) for name in CATALOGUE)]}
    evidence = {names: each for names, each in tried.items() if each is not None}
    whole = exact.explaining(port, noise, evidence)
    if whole:
        return _findings(port, noise, evidence, FLOAT32, _best(port, noise, evidence, whole))
    held = coarse.holding(port, noise, evidence)
    best = held[0] if held else ()
    around = measured(port, best) if best else noise
    rounded = not around.departs_coarsely(evidence[best]).any()
    otherwise_exact = noise.departs_exactly(evidence[()]).any(axis=1).mean() < 0.5
    if not best and otherwise_exact and around.alike < ALIKE_STEP_BY_STEP:
        rounded = False  # it is as small as rounding, and unlike it
    if best or not rounded or otherwise_exact or around.alike < ALIKE:
        both = exact.pairs(port, noise, evidence, best if rounded else ())
        if both:
            return _findings(port, noise, evidence | both, FLOAT32, list(both))
    if not rounded:
        return _findings(port, noise, evidence, None, [])
    return _findings(port, around, evidence, ROUNDED, coarse.equals(noise, evidence, held) if held else [()])


def _best(port: Reference, noise: Noise, evidence: Mapping[Names, Evidence], whole: list[Names]) -> list[Names]:
    """Of those that leave nothing beyond float32: none, unless one explains even that, or the best."""
    if () not in whole:
        return coarse.equals(noise, evidence, whole)
    held = coarse.holding(port, noise, {names: evidence[names] for names in whole})
    return coarse.equals(noise, evidence, held) if held else [()]


def _findings(
    port: Reference, noise: Noise, evidence: Mapping[Names, Evidence], precision: str | None, explanations: list[Names]
) -> Findings:
    first = explanations[0] if explanations else None
    single = first is not None and len(first) == 1
    return Findings(
        precision,
        explanations,
        None if first == () else block(port, noise, evidence, first),
        coarse.support(noise, evidence[()], evidence[first]) if single else None,
        _runner_up(noise, evidence, {name for names in explanations for name in names}),
        {} if first else _unseen(noise, evidence, precision),
        noise.alike,
    )


def _runner_up(noise: Noise, evidence: Mapping[Names, Evidence], named: set[str]) -> str | None:
    others = {names[0]: each for names, each in evidence.items() if len(names) == 1 and names[0] not in named}
    gains = {name: coarse.gain(noise, evidence[()], each).mean() for name, each in others.items()}
    best = max(gains, key=gains.get)
    return best if gains[best] > 0 else None


def _unseen(noise: Noise, evidence: Mapping[Names, Evidence], precision: str | None) -> dict[str, float]:
    right, singles = evidence[()], {names[0]: each for names, each in evidence.items() if len(names) == 1}
    if precision == ROUNDED:
        noise_K = right.left_KT.mean(axis=1) + noise.floor_K1[:, 0]
        # What holds here and yet was not named holds for right ports, too.
        usual = {name for name, each in singles.items() if coarse.support(noise, right, each).holds()}
        unseen = [name for name, each in singles.items() if name in usual or not coarse.could_show(noise, right, each)]
    else:
        noise_K = noise.exact_K
        unseen = [name for name, each in singles.items() if not (each.effect_KT > noise_K[:, None]).any()]
    shares = {name: float((singles[name].effect_KT.mean(axis=1) / noise_K).max()) for name in unseen}
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def block(port: Reference, noise: Noise, evidence: Mapping[Names, Evidence], mistakes: Names | None) -> str | None:
    """The block where a port first departs, as "layers.3.router", as exactly as the arrays that are given can tell."""
    departs_K = noise.departs_exactly(evidence[()]).any(axis=1)
    if mistakes:
        departs_K &= (evidence[mistakes].effect_KT > 0).any(axis=1)
    elif noise.departs_coarsely(evidence[()]).any():
        departs_K = noise.departs_coarsely(evidence[()])
    name = port.names[int(departs_K.argmax())]
    found = departs_in(name, port.theirs, port.model.config)
    return CATALOGUE[mistakes[0]].block if found is None and mistakes else found
