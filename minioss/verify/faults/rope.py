"""Mistakes in RoPE: the frequencies, the concentration, the positions, the pairs."""

from dataclasses import replace

import numpy as np

from minioss import bfloat16
from minioss.rope import Rotation, concentration
from minioss.verify.faults.catalogue import mistake


def _to_bfloat16(values):
    return bfloat16.decode(bfloat16.encode(np.asarray(values, np.float32)), np.float64)


def _interleaved(right, query_TnK, key_THK, rotation):
    """RoPE on neighbours: the pairs are brought to halves, turned, and brought back."""

    def halves(x):
        return np.concatenate([x[..., 0::2], x[..., 1::2]], axis=-1)

    def neighbours(x):
        return np.stack(np.split(x, 2, axis=-1), axis=-1).reshape(x.shape)

    return tuple(map(neighbours, right(halves(query_TnK), halves(key_THK), rotation)))


@mistake(
    "rope.rotation",
    official="The ends of the ramp stay as they are: `truncate` is false.",
    seen="llama.cpp, mlx-lm 0.32, vllm#27722, sglang PR14270",
)
def yarn_truncated(right, positions_T, rope, head_dim, dtype):
    """The ends of YaRN's ramp are rounded to whole pairs."""
    return right(positions_T, replace(rope, truncate=True), head_dim, dtype)


@mistake(
    "rope.rotation",
    official="Frequencies are stretched by parts, and cos and sin carry the concentration.",
    seen="TensorRT-Model-Connect#399",
)
def yarn_off(right, positions_T, rope, head_dim, dtype):
    """RoPE is plain: YaRN is not applied at all."""
    return right(positions_T, replace(rope, rope_type="default"), head_dim, dtype)


@mistake(
    "rope.rotation",
    official="The ramp counts turns within the original length, 4096, before the stretch.",
    seen="ibm-fms 1.13, NeMo Speech #14686",
)
def yarn_original_length(right, positions_T, rope, head_dim, dtype):
    """YaRN's original length is that after the stretch: 131072 instead of 4096."""
    stretched = round(rope.original_max_position_embeddings * rope.factor)
    return right(positions_T, replace(rope, original_max_position_embeddings=stretched), head_dim, dtype)


@mistake("rope.inverse_frequencies", official="Pairs that turn often keep their frequency; slow ones are divided.")
def yarn_ramp_inverted(right, rope, head_dim):
    """The ramp runs the other way: fast pairs are slowed down and slow ones kept."""
    plain = right(replace(rope, rope_type="default"), head_dim)
    return plain + plain / rope.factor - right(rope, head_dim)


@mistake("rope.inverse_frequencies", official="YaRN divides by the factor only those pairs that turn less than once.")
def yarn_all_interpolated(right, rope, head_dim):
    """Every pair's frequency is divided by the factor."""
    return right(replace(rope, rope_type="default"), head_dim) / rope.factor


@mistake("rope.inverse_frequencies", official="YaRN leaves the base as it is and stretches by parts.")
def yarn_ntk_instead(right, rope, head_dim):
    """The base is raised by factor^(K / (K - 2)) instead of stretching by parts."""
    base = rope.rope_theta * rope.factor ** (head_dim / (head_dim - 2))
    return right(replace(rope, rope_type="default", rope_theta=base), head_dim)


@mistake("rope.rotation", official="cos and sin are both multiplied by 0.1 ln(factor) + 1.")
def concentration_missing(right, positions_T, rope, head_dim, dtype):
    """cos and sin are not multiplied by the concentration."""
    return right(positions_T, replace(rope, attention_factor=1.0), head_dim, dtype)


@mistake("rope.rotation", official="The concentration multiplies cos and sin once; scores grow by its square.")
def concentration_squared(right, positions_T, rope, head_dim, dtype):
    """cos and sin are multiplied by the square of the concentration."""
    return right(positions_T, replace(rope, attention_factor=concentration(rope) ** 2), head_dim, dtype)


@mistake("attention.turn", official="Queries and keys alike carry the concentration.")
def concentration_query_only(right, query_TnK, key_THK, rotation):
    """Only the queries carry the concentration."""
    factor = np.hypot(rotation.cos_Tk, rotation.sin_Tk)
    _, key_THK = right(query_TnK, key_THK, Rotation(rotation.cos_Tk / factor, rotation.sin_Tk / factor))
    query_TnK, _ = right(query_TnK, key_THK, rotation)
    return query_TnK, key_THK


@mistake("rope.rotation", official="The base is `rope_theta`, 150000.")
def rope_base_10000(right, positions_T, rope, head_dim, dtype):
    """The base is 10000, whatever the config says."""
    return right(positions_T, replace(rope, rope_theta=10000.0), head_dim, dtype)


@mistake("attention.turn", official="Pair i is numbers i and i + K/2: halves.")
def rope_neighbours(right, query_TnK, key_THK, rotation):
    """Pairs are neighbours instead of halves."""
    return _interleaved(right, query_TnK, key_THK, rotation)


@mistake("attention.turn", official="Queries and keys are turned once, by halves.", seen="TensorRT-LLM PR16378")
def rope_twice(right, query_TnK, key_THK, rotation):
    """RoPE is applied twice, the second time on neighbours instead of halves."""
    return _interleaved(right, *right(query_TnK, key_THK, rotation), rotation)


@mistake("attention.turn", official="Queries and keys are both turned.")
def rope_query_only(right, query_TnK, key_THK, rotation):
    """The keys are not turned."""
    return right(query_TnK, key_THK, rotation)[0], key_THK


@mistake("rope.rotation", official="The first half takes minus sin, the second plus sin.")
def rope_turned_backwards(right, positions_T, rope, head_dim, dtype):
    """Pairs turn backwards: sin has the other sign."""
    turn = right(positions_T, rope, head_dim, dtype)
    return Rotation(turn.cos_Tk, -turn.sin_Tk)


@mistake(
    "rope.inverse_frequencies",
    official="Frequencies are computed in float32 and never cast with the model.",
)
def rope_frequencies_bfloat16(right, rope, head_dim):
    """The frequencies are rounded to bfloat16, as by a cast of the whole model."""
    return _to_bfloat16(right(rope, head_dim))


@mistake("rope.rotation", official="Positions are integers, and angles at least float32.")
def rope_positions_bfloat16(right, positions_T, rope, head_dim, dtype):
    """Positions are rounded to bfloat16: from 256 on, neighbours share one."""
    return right(_to_bfloat16(positions_T), rope, head_dim, dtype)


@mistake("rope.rotation", official="Positions go on from where the cache ends.")
def position_restarts(right, positions_T, rope, head_dim, dtype):
    """Positions begin at 0 again with every piece of a prompt."""
    return right(positions_T - positions_T[0], rope, head_dim, dtype)
