"""RoPE: a token's position turns its queries and keys, so that scores see distances.

The K numbers of a query or key are K/2 pairs (i, i + K/2): the *halves*, not the neighbours. At position p, pair i
turns by the angle p ω[i]. The base θ is ``rope_theta`` = 150000: first pairs turn fast, the last ones hardly at all:

    x'[i]       = x[i] cos(p ω[i]) - x[i + K/2] sin(p ω[i])
    x'[i + K/2] = x[i + K/2] cos(p ω[i]) + x[i] sin(p ω[i])        ω[i] = θ^(-2i/K)

Of two turned vectors, the dot product depends on the difference of their positions alone.

**YaRN, by parts.** The model was first trained on short texts (``original`` = 4096 tokens) and then stretched by
``factor`` = 32. A pair that turns more than β_fast = 32 times within the original length keeps its frequency; one that
turns less than β_slow = 1 times is slowed down by the factor; a ramp joins the two:

    dim(r)  = K ln(original / (2π r)) / (2 ln θ)       the pair that turns r times
    ramp[i] = clip((i - dim(β_fast)) / (dim(β_slow) - dim(β_fast)), 0, 1)
    ω'[i]   = ω[i] (1 - ramp[i]) + ω[i] / factor · ramp[i]

and both cos and sin are multiplied by the *concentration* 0.1 ln(factor) + 1, so that scores grow by its square.
gpt-oss does not round the ends of the ramp (``truncate`` is false).

Source: Su et al., "RoFormer" (2021), eq. 15; Peng et al., "YaRN" (2023), sections 3.2 to 3.4;
gpt_oss/torch/model.py, ``RotaryEmbedding``; transformers, ``_compute_yarn_parameters``.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from minioss import kernels
from minioss.config import RopeConfig


class Rotation(NamedTuple):
    """cos and sin of each token's angles, concentration included: both (T, K/2), where k stands for K/2."""

    cos_Tk: NDArray
    sin_Tk: NDArray


@kernels.twin
def inverse_frequencies(rope: RopeConfig, head_dim: int) -> NDArray[np.float64]:
    """ω' of each pair, in radians a token: float64, (K/2,); K is ``head_dim``."""
    pair = np.arange(head_dim // 2)
    omega = rope.rope_theta ** (-2.0 * pair / head_dim)
    if rope.rope_type == "default":
        return omega
    ramp = yarn_ramp(rope, head_dim)
    return omega * (1 - ramp) + omega / rope.factor * ramp


def yarn_ramp(rope: RopeConfig, head_dim: int) -> NDArray[np.float64]:
    """How far each pair is stretched: 0 keeps its frequency, 1 divides it by the factor. (K/2,); K is ``head_dim``."""

    def pair_that_turns(rotations: float) -> float:
        turns = rope.original_max_position_embeddings / (2 * math.pi * rotations)
        return head_dim * math.log(turns) / (2 * math.log(rope.rope_theta))

    low, high = pair_that_turns(rope.beta_fast), pair_that_turns(rope.beta_slow)
    if rope.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, head_dim - 1)  # as in transformers; it matters for short original lengths only
    if low == high:
        high += 0.001
    return np.clip((np.arange(head_dim // 2) - low) / (high - low), 0, 1)


def concentration(rope: RopeConfig) -> float:
    """The factor on cos and sin: 0.1 ln(factor) + 1 for YaRN, 1 for plain RoPE."""
    if rope.rope_type == "default":
        return 1.0
    return 0.1 * math.log(rope.factor) + 1.0 if rope.attention_factor is None else rope.attention_factor


@kernels.twin
def rotation(positions_T: NDArray[np.integer], rope: RopeConfig, head_dim: int, dtype: DTypeLike) -> Rotation:
    """cos and sin for each position, for heads of K = ``head_dim``.

    Angles are taken in float64 whatever ``dtype`` is: at 100,000 radians, neighbouring float32 numbers are 0.008 apart.
    """
    angle_Tk = positions_T[:, None] * inverse_frequencies(rope, head_dim)
    scale = concentration(rope)
    return Rotation((np.cos(angle_Tk) * scale).astype(dtype), (np.sin(angle_Tk) * scale).astype(dtype))


@kernels.twin
def rotate(x_THK: NDArray, rotation: Rotation) -> NDArray:
    """Turn every head of every token by its token's angles.

    Parameters
    ----------
    x_THK : float32 or float64, (T, heads, K)
    rotation : cos and sin, (T, K/2) each, of the same type

    Returns
    -------
    (T, heads, K)
    """
    first, second = np.split(x_THK, 2, axis=-1)
    cos, sin = rotation.cos_Tk[:, None, :], rotation.sin_Tk[:, None, :]
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
