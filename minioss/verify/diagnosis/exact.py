"""The mistakes that explain a port to the last bits of float32: one, or two together.

Of two mistakes, one mostly shows first: in an earlier array, or, with logits alone, at an earlier token, since
tokens see only what comes before them. So what explains the beginning is found first, then what explains the
rest. Two that show at the same token are sought on the text up to that token, where a run costs next to nothing.

Some mistakes magnify float32's own noise. So what leaves a little too much is held against the noise of a port that
makes the same mistakes.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations

import numpy as np

from minioss.verify.diagnosis.evidence import Evidence, first_tokens, gathered
from minioss.verify.diagnosis.noise import Noise, measured
from minioss.verify.reference import Names, Reference

BEGINNINGS = 8  # first mistakes of a pair that are followed up
MAGNIFIED = 300.0


def explaining(port: Reference, noise: Noise, evidence: Mapping[Names, Evidence]) -> list[Names]:
    """Which of these leave nothing beyond float32, least first."""
    order = sorted(evidence, key=lambda names: float(evidence[names].left_KT.sum()))
    whole = [names for names in order if not noise.departs_exactly(evidence[names]).any()]
    if whole:
        return whole
    near = [names for names in order if names and not _magnified(noise).departs_exactly(evidence[names]).any()]
    return [names for names in near if not measured(port, names).departs_exactly(evidence[names]).any()]


def pairs(port: Reference, noise: Noise, singles: Mapping[Names, Evidence], held: Names) -> dict[Names, Evidence]:
    """The pairs of mistakes that explain everything together.

    Where one mistake holds that leaves no more than rounding would, it is one of the pair.
    """
    searches = [_one_after_the_other(port, level, singles, held) for level in (noise, _magnified(noise))]
    if port.names == ["logits"] and not held:
        searches.append(_at_the_same_token(port, _magnified(noise), singles))
    for candidates in searches:
        tried = {names: gathered(port, names) for names in dict.fromkeys(candidates)}
        found = {names: each for names, each in tried.items() if each}
        whole = explaining(port, noise, found)
        if whole:
            return {names: found[names] for names in whole}
    return {}


def _magnified(noise: Noise) -> Noise:
    return noise._replace(exact_K=MAGNIFIED * noise.exact_K)


def _one_after_the_other(
    port: Reference, noise: Noise, singles: Mapping[Names, Evidence], held: Names
) -> Iterator[Names]:
    reach = {names: _reach(noise, each) for names, each in singles.items()}
    end = singles[()].left_KT.size
    beginnings = sorted((names for names in singles if reach[()] < reach[names]), key=reach.get, reverse=True)
    for (one,) in [held] if held else beginnings[:BEGINNINGS]:
        if reach[one,] == end:
            continue
        place = np.unravel_index(reach[one,], singles[()].left_KT.shape)
        others = [other for other in _showing(noise, singles, place) if other != one]
        yield from _explaining_at(port, noise, [tuple(sorted((one, other))) for other in others], place)


def _at_the_same_token(port: Reference, noise: Noise, singles: Mapping[Names, Evidence]) -> Iterator[Names]:
    place = 0, _reach(noise, singles[()])
    if place[1] < singles[()].left_KT.size:
        yield from _explaining_at(port, noise, combinations(_showing(noise, singles, place), 2), place)


def _reach(noise: Noise, evidence: Evidence) -> int:
    """How much comes before the first departure, array by array and token by token."""
    departs = noise.departs_exactly(evidence).ravel()
    return int(departs.argmax()) if departs.any() else departs.size


def _showing(noise: Noise, singles: Mapping[Names, Evidence], place: tuple[int, int]) -> list[str]:
    """The mistakes that change what is at a place."""
    return [names[0] for names, each in singles.items() if names and each.effect_KT[place] > noise.exact_K[place[0]]]


def _explaining_at(
    port: Reference, noise: Noise, candidates: Iterable[Names], place: tuple[int, int]
) -> Iterator[Names]:
    beginning = first_tokens(port, place[1] + 1) if port.names == ["logits"] else port
    for names in candidates:
        evidence = gathered(beginning, names)
        if evidence and not noise.departs_exactly(evidence)[place]:
            yield names
