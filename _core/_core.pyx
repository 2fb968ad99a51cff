# cython: language_level=3
"""The compiled twins of NumPy functions. `minioss/kernels.py` alone imports this."""

from libc.stdint cimport uint8_t

import numpy as np


cdef extern from "mxfp4.h" nogil:
    void c_mxfp4_decode "mxfp4_decode"(const uint8_t *blocks, const uint8_t *scales, float *values, size_t count)


def mxfp4_decode(blocks, scales, dtype=np.float32):
    """Twin of `minioss.mxfp4.decode`, for float32."""
    if np.dtype(dtype) != np.float32:
        raise TypeError(f"dtype is {np.dtype(dtype)}; the kernel knows float32 alone")
    if blocks.dtype != np.uint8 or scales.dtype != np.uint8:
        raise TypeError(f"blocks are {blocks.dtype} and scales {scales.dtype}; expected uint8 both")
    if blocks.shape != (*scales.shape, 16):
        raise ValueError(f"blocks have shape {blocks.shape}; expected {(*scales.shape, 16)}, as the scales have it")
    values = np.empty((scales.size, 32), np.float32)
    if scales.size:
        _decode(
            np.ascontiguousarray(blocks).reshape(-1),
            np.ascontiguousarray(scales).reshape(-1),
            values.reshape(-1),
        )
    return values.reshape(*scales.shape[:-1], 32 * scales.shape[-1])


cdef void _decode(const uint8_t[::1] blocks, const uint8_t[::1] scales, float[::1] values):
    with nogil:
        c_mxfp4_decode(&blocks[0], &scales[0], &values[0], scales.shape[0])
