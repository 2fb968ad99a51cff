# cython: language_level=3
"""The compiled twins of NumPy functions. `minioss/kernels.py` alone imports this.

A twin that cannot serve what it is given (another type of weight, float64) returns
NotImplemented, and the NumPy function runs.
"""

import numpy as np

from cython.parallel cimport parallel, prange, threadid
from libc.stdint cimport uint8_t


cdef extern from "simd.h" nogil:
    enum: PANEL_ROWS, CACHE_LINE

    ctypedef struct Format:
        pass

    ctypedef struct Simd:
        const char *name
        Format mxfp4
        Format bfloat16

    ctypedef struct Matrix:
        const uint8_t *codes
        const uint8_t *scales
        const Format *format
        size_t rows
        size_t row_bytes
        size_t row_scales
        size_t length

    size_t simd_levels(const Simd **levels)
    size_t arranged_length(const Format *format, size_t n)
    void arrange(const Format *format, const float *x, float *arranged, size_t n)
    void multiply_panel(
        const Simd *simd, const Matrix *matrix, size_t first, const float *x, size_t tokens, float *y,
        size_t stride, float *panel)
    void swiglu(const float *gate_up, float *activation, size_t count, float alpha, float limit)


cdef const Simd *levels[8]
cdef size_t level_count = simd_levels(levels)
cdef const Simd *simd = levels[level_count - 1]


def available():
    """The names of the instruction sets that this processor has, slowest first."""
    return [levels[index].name.decode() for index in range(level_count)]


def in_use():
    """The name of the instruction set that the kernels run with."""
    return simd.name.decode()


def use(name):
    """Run the kernels with another instruction set.

    Raises
    ------
    ValueError
        Where this processor does not have it.
    """
    global simd
    if name not in available():
        raise ValueError(f"instruction set is {name!r}; expected one of {', '.join(available())} on this processor")
    simd = levels[available().index(name)]


cdef class Packed:
    """A packed weight in row order, (…, N, D), whose bytes are held while a kernel reads them."""

    cdef const uint8_t[::1] codes, scales
    cdef const Format *format
    cdef size_t matrices, rows, length

    cdef Matrix first(self) except *:
        """The first of the matrices."""
        cdef Matrix matrix
        cdef bint scaled = self.scales is not None
        matrix.format, matrix.rows, matrix.length = self.format, self.rows, self.length
        matrix.row_bytes = self.length // 2 if scaled else 2 * self.length
        matrix.row_scales = self.length // 32 if scaled else 0
        matrix.codes = &self.codes[0]
        matrix.scales = &self.scales[0] if scaled else NULL
        return matrix


cdef inline Matrix later(Matrix matrix, size_t index) noexcept nogil:
    """The matrix that many places after this one."""
    matrix.codes += index * matrix.rows * matrix.row_bytes
    if matrix.scales != NULL:
        matrix.scales += index * matrix.rows * matrix.row_scales
    return matrix


cdef Packed pack(weight):
    """The bytes of an MXFP4 or bfloat16 weight; None where it is neither, or is empty.

    Where it is not in row order (an expert that is stored transposed) they are a copy.
    """
    cdef Packed packed = Packed()
    blocks, scales, bits = (getattr(weight, name, None) for name in ("blocks", "scales", "bits"))
    if len(weight.shape) < 2 or 0 in weight.shape:
        return None
    if blocks is not None:
        if blocks.dtype != np.uint8 or scales.dtype != np.uint8 or blocks.shape != (*scales.shape, 16):
            return None
        packed.format = &simd.mxfp4
        packed.scales = np.ascontiguousarray(scales).reshape(-1)
    elif bits is None or bits.dtype != np.uint16:
        return None
    else:
        packed.format, packed.scales = &simd.bfloat16, None
    *leading, packed.rows, packed.length = weight.shape
    packed.matrices = np.prod(leading, dtype=np.intp)
    packed.codes = np.ascontiguousarray(bits if blocks is None else blocks).reshape(-1).view(np.uint8)
    return packed


def aligned(rows, length):
    """An uninitialised float32 array of this shape that starts on a cache line, so that no register's load spans two."""
    raw = np.empty(rows * length + CACHE_LINE // 4, np.float32)
    first = -raw.ctypes.data % CACHE_LINE // 4
    return raw[first : first + rows * length].reshape(rows, length)


cdef arranged(const Format *format, const float[:, ::1] x_TD, int threads):
    """Every row of x in the order of a format, with zeros up to whole groups."""
    cdef size_t D = x_TD.shape[1]
    out = aligned(x_TD.shape[0], arranged_length(format, D))
    cdef float[:, ::1] out_TD = out
    cdef Py_ssize_t t
    for t in prange(x_TD.shape[0], nogil=True, num_threads=threads, schedule="static"):
        arrange(format, &x_TD[t, 0], &out_TD[t, 0], D)
    return out


def matmul(x_TD, weight_ND, *, int threads=1):
    """Twin of `minioss.linear.matmul`: float32 activations, MXFP4 or bfloat16 weights."""
    cdef Packed packed = pack(weight_ND) if x_TD.dtype == np.float32 and x_TD.size else None
    if packed is None or packed.matrices != 1 or x_TD.shape != (len(x_TD), packed.length):
        return NotImplemented
    cdef float[:, ::1] x = arranged(packed.format, np.ascontiguousarray(x_TD), threads)
    y_TN = np.empty((len(x_TD), packed.rows), np.float32)
    cdef float[:, ::1] y = y_TN
    cdef float[:, ::1] panels = aligned(threads * PANEL_ROWS, x.shape[1])
    cdef Matrix matrix = packed.first()
    cdef const Simd *level = simd
    cdef float *panel = NULL
    cdef Py_ssize_t index
    with nogil, parallel(num_threads=threads):
        panel = &panels[threadid() * PANEL_ROWS, 0]
        for index in prange(<Py_ssize_t>((matrix.rows + PANEL_ROWS - 1) // PANEL_ROWS), schedule="dynamic", chunksize=4):
            multiply_panel(level, &matrix, index * PANEL_ROWS, &x[0, 0], x.shape[0], &y[0, 0], matrix.rows, panel)
    return y_TN


def mix_experts(x_TD, routing, weights, alpha, limit, *, int threads=1):
    """Twin of `minioss.experts.mix_experts`: float32 activations, MXFP4 experts."""
    if x_TD.dtype != np.float32 or not x_TD.size or not hasattr(weights.gate_up, "blocks"):
        return NotImplemented
    cdef Packed gate_up = pack(weights.gate_up), down = pack(weights.down)
    if gate_up is None or down is None or gate_up.scales is None or down.scales is None:
        return NotImplemented
    expert_P = routing.expert_TA.reshape(-1)
    if gate_up.length != x_TD.shape[1] or gate_up.rows != 2 * down.length or down.rows != x_TD.shape[1]:
        return NotImplemented
    if expert_P.min() < 0 or expert_P.max() >= min(gate_up.matrices, down.matrices):
        return NotImplemented
    return _mixed(x_TD, routing, weights, expert_P, gate_up, down, alpha, limit, threads)


cdef _mixed(x_TD, routing, weights, expert_P, Packed gate_up, Packed down, float alpha, float limit, int threads):
    """Sort the pairs of token and expert by expert; then gather, gate/up, SwiGLU, down and scatter in one region."""
    # Pairs in the order of their experts; of one expert, in the order of the tokens.
    order_P = np.argsort(expert_P, kind="stable")
    used_U, first_U, count_U = np.unique(expert_P[order_P], return_index=True, return_counts=True)
    cdef Py_ssize_t[::1] used = used_U.astype(np.intp), start = first_U.astype(np.intp), count = count_U.astype(np.intp)
    cdef Py_ssize_t[::1] position = np.argsort(order_P).astype(np.intp)
    cdef Py_ssize_t A = routing.expert_TA.shape[1], T = x_TD.shape[0], P = T * A, U = len(used_U)
    cdef Py_ssize_t D = down.rows, F = down.length, index, u, p, a, t, r
    segment_P = np.repeat(np.arange(U), count_U)
    cdef Py_ssize_t[::1] segment = segment_P
    cdef float[:, ::1] gate_up_bias = _decoded(weights.gate_up_bias, used_U), down_bias = _decoded(weights.down_bias, used_U)
    cdef float[::1] share = np.ascontiguousarray(routing.weight_TA, np.float32).reshape(-1)

    arranged_TD = arranged(gate_up.format, np.ascontiguousarray(x_TD), threads)
    gathered_PD = aligned(P, arranged_TD.shape[1])
    np.take(arranged_TD, order_P // A, axis=0, out=gathered_PD)
    cdef float[:, ::1] x = gathered_PD
    cdef float[:, ::1] hidden = np.empty((P, 2 * F), np.float32), activation = np.empty((P, F), np.float32)
    cdef float[:, ::1] ordered = aligned(P, arranged_length(down.format, F))
    cdef float[:, ::1] result = np.empty((P, D), np.float32)
    y_TD = np.empty((T, D), np.float32)
    cdef float[:, ::1] y = y_TD
    cdef const Simd *level = simd
    cdef float[:, ::1] panels = aligned(threads * PANEL_ROWS, max(x.shape[1], ordered.shape[1]))
    cdef Matrix first_up = gate_up.first(), first_down = down.first(), matrix
    cdef float *panel = NULL
    cdef float total
    cdef Py_ssize_t up_panels = (2 * F + PANEL_ROWS - 1) // PANEL_ROWS, down_panels = (D + PANEL_ROWS - 1) // PANEL_ROWS
    with nogil, parallel(num_threads=threads):
        panel = &panels[threadid() * PANEL_ROWS, 0]
        for index in prange(U * up_panels, schedule="dynamic", chunksize=4):
            u = index // up_panels
            matrix = later(first_up, used[u])
            multiply_panel(
                level, &matrix, (index % up_panels) * PANEL_ROWS, &x[start[u], 0], count[u],
                &hidden[start[u], 0], 2 * F, panel)
        for p in prange(P, schedule="static"):
            for r in range(2 * F):
                hidden[p, r] = hidden[p, r] + gate_up_bias[segment[p], r]
            swiglu(&hidden[p, 0], &activation[p, 0], F, alpha, limit)
            arrange(down.format, &activation[p, 0], &ordered[p, 0], F)
        for index in prange(U * down_panels, schedule="dynamic", chunksize=4):
            u = index // down_panels
            matrix = later(first_down, used[u])
            multiply_panel(
                level, &matrix, (index % down_panels) * PANEL_ROWS, &ordered[start[u], 0], count[u],
                &result[start[u], 0], D, panel)
        for t in prange(T, schedule="static"):
            for r in range(D):
                total = 0
                for a in range(A):
                    p = position[t * A + a]
                    total = total + share[t * A + a] * (result[p, r] + down_bias[segment[p], r])
                y[t, r] = total
    return y_TD


def _decoded(bias_EN, used_U):
    """The rows of a bias of any format, as float32."""
    rows = bias_EN[used_U]
    return np.ascontiguousarray(rows if isinstance(rows, np.ndarray) else rows.decode(np.float32), np.float32)
