"""Mistakes in MXFP4: the order of the nibbles, the codes, the scales."""

import numpy as np

from minioss.verify.faults.catalogue import mistake

ORDER = "Byte j of a block holds numbers 2j, in its low nibble, and 2j + 1."
CODES = "The nibbles are E2M1: 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives."
SCALES = "A block's scale is 2^(byte - 127); byte 0 is 2^-127."


def _by_block(values, scales):
    return values.reshape(*scales.shape, 32)


@mistake("mxfp4.decode", official=ORDER)
def mxfp4_nibbles_swapped(right, blocks, scales, dtype):
    """The high nibble comes first."""
    return right(blocks >> 4 | blocks << 4, scales, dtype)


@mistake("mxfp4.decode", official=ORDER, seen="imp PR567")
def mxfp4_gguf_order(right, blocks, scales, dtype):
    """Blocks are read in GGUF's order: the low nibbles are the first 16 numbers, the high ones the rest."""
    values = right(blocks, scales, dtype)
    return _by_block(values, scales).reshape(*scales.shape, 16, 2).swapaxes(-1, -2).reshape(values.shape)


@mistake("mxfp4.decode", official=ORDER, seen="imp PR567")
def mxfp4_gguf_order_as_linear(right, blocks, scales, dtype):
    """Blocks in GGUF's order are read as if numbers followed one another."""
    values = right(blocks, scales, dtype)
    return _by_block(values, scales).reshape(*scales.shape, 2, 16).swapaxes(-1, -2).reshape(values.shape)


@mistake("mxfp4.decode", official=CODES)
def mxfp4_as_integers(right, blocks, scales, dtype):
    """The nibbles are read as integers from -8 to 7, halved."""
    integer = np.stack([blocks & 15, blocks >> 4], axis=-1).astype(np.int8)
    values = (np.where(integer > 7, integer - 16, integer) / 2).reshape(*scales.shape, 32)
    return np.ldexp(values, scales.astype(np.int32)[..., None] - 127).reshape(*scales.shape[:-1], -1).astype(dtype)


@mistake("mxfp4.decode", official=CODES)
def mxfp4_half_flushed(right, blocks, scales, dtype):
    """The smallest code, 0.5, which has no leading 1, is read as 0."""
    values = right(blocks, scales, dtype)
    half = np.ldexp(0.5, scales.astype(np.int32) - 127)[..., None]
    return np.where(np.abs(_by_block(values, scales)) == half, 0, _by_block(values, scales)).reshape(values.shape)


@mistake("mxfp4.decode", official=CODES)
def mxfp4_sign_missing(right, blocks, scales, dtype):
    """The sign bit is ignored."""
    return right(blocks & 0x77, scales, dtype)


@mistake("mxfp4.decode", official=SCALES)
def mxfp4_scale_bias_128(right, blocks, scales, dtype):
    """The scale is 2^(byte - 128)."""
    return right(blocks, scales, dtype) / 2


@mistake("mxfp4.decode", official=SCALES)
def mxfp4_scale_zero_as_one(right, blocks, scales, dtype):
    """The scale byte 0 is read as a scale of 1."""
    return right(blocks, np.where(scales == 0, 127, scales).astype(np.uint8), dtype)


@mistake("mxfp4.decode", official=SCALES)
def mxfp4_scale_zero_as_zero(right, blocks, scales, dtype):
    """The scale byte 0 is read as a scale of 0."""
    values = right(blocks, scales, dtype)
    return np.where(scales[..., None] == 0, 0, _by_block(values, scales)).astype(dtype).reshape(values.shape)


@mistake(
    "mxfp4.decode",
    official="Numbers below 2^-126 are kept: float32 and bfloat16 both have them.",
    seen="1Cat-vLLM PR222",
)
def mxfp4_subnormals_flushed(right, blocks, scales, dtype):
    """Numbers below 2^-126 are flushed to zero."""
    values = right(blocks, scales, dtype)
    return np.where(np.abs(values) < 2.0**-126, 0, values).astype(dtype)


@mistake("mxfp4.decode", official="The scale of block b stands at place b of its row.")
def mxfp4_scale_of_neighbour(right, blocks, scales, dtype):
    """Every block has the scale of the next one in its row."""
    return right(blocks, np.roll(scales, -1, axis=-1), dtype)
