# cython: language_level=3
"""The compiled twins of NumPy functions. `minioss/kernels.py` alone imports this.

A twin that cannot serve what it is given (another type of weight, float64) returns
NotImplemented, and the NumPy function runs.
"""

import math
import threading
import time

import numpy as np

from cpython.buffer cimport PyBUF_STRIDES, PyBuffer_Release, PyObject_GetBuffer
from cython.parallel cimport parallel, prange, threadid
from libc.string cimport memset
from libc.stdint cimport int8_t, uint8_t, uint16_t, uint64_t


cdef extern from "simd.h" nogil:
    enum: BLOCK_TOKENS, CACHE_LINE, DOT_TOKENS, TASK_ROWS, FEW_ROWS

    ctypedef enum Precision:
        FLOAT32, BFLOAT16, INT8

    ctypedef struct Format:
        pass

    ctypedef struct Product:
        const char *name
        double (*spin)(size_t rounds) noexcept nogil

    ctypedef struct Simd:
        const char *name
        Product products[3]
        Format mxfp4
        Format mxint8
        Format bfloat16
        void (*swiglu)(const float *gate_up, float *activation, size_t count, float alpha, float limit) noexcept nogil

    ctypedef struct Matrix:
        const uint8_t *codes
        const uint8_t *scales
        const Format *format
        size_t rows
        size_t row_bytes
        size_t row_scales
        size_t length

    ctypedef struct Bias:
        const void *numbers
        bint wide
        size_t length

    size_t simd_levels(const Simd **levels)
    size_t token_bytes(const Simd *simd, Precision precision, const Format *format, size_t n)
    size_t panel_bytes(const Simd *simd, Precision precision, const Format *format, size_t n)
    void lay_out_block(
        const Simd *simd, Precision precision, const Format *format, const float **x, size_t tokens, size_t together,
        size_t n, void *laid_out, void *panel)
    void multiply_rows(
        const Simd *simd, Precision precision, const Matrix *matrix, size_t first, size_t rows, const void *x,
        size_t tokens, float *y, size_t stride, void *panel)
    void add_bias(float *y, const Bias *bias, size_t row)
    void add_weighted(float *y, const float *x, const Bias *bias, size_t row, float share)

    enum: QUERY_ROWS, LARGEST_HEAD

    ctypedef struct Heads:
        const void *numbers
        bint wide
        size_t stride, head_stride

    void attend_head(
        const Simd *simd, const float *query, Heads key, Heads value, const float *sinks, size_t tokens, size_t group,
        size_t head_size, size_t first_position, size_t window, float *mixed, size_t stride)
    uint64_t read_bytes(const uint8_t *bytes, size_t count)
    void quantize_row(const float *x, size_t n, int8_t *integers, uint8_t *scales)
    void normalise(const float *x, const float *gain, size_t n, float eps, float *y)
    void turn_heads(
        const float *x, const float *cosine, const float *sine, size_t heads, size_t head_size, float *y)


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


PRECISIONS = {"float32": FLOAT32, "bfloat16": BFLOAT16, "int8": INT8}


def products():
    """What multiplies many tokens at once, by the type of the activations."""
    return {name: simd.products[<int>precision].name.decode() for name, precision in PRECISIONS.items()}


def peak(*, int threads=1, activations="float32"):
    """Operations a second of what multiplies many tokens, in registers alone: the best of many short runs."""
    cdef Product product = simd.products[<int>PRECISIONS[activations]]
    cdef size_t rounds = 1024
    # Runs are short, so that other work on this machine leaves some of them alone; one thread waits for nobody.
    while min(spun(product, rounds, 1)[1] for _ in range(3)) < 0.002:
        rounds *= 2
    return max(operations / seconds for operations, seconds in (spun(product, rounds, threads) for _ in range(30)))


cdef spun(Product product, size_t rounds, int threads):
    """The operations that all threads together did, and in how many seconds."""
    cdef double operations = 0
    cdef Py_ssize_t index
    start = time.perf_counter()
    for index in prange(threads, nogil=True, num_threads=threads, schedule="static"):
        operations += product.spin(rounds)
    return operations, time.perf_counter() - start


def read_seconds(const uint8_t[::1] buffer, *, int threads=1):
    """The seconds that all threads together take to read a buffer once."""
    cdef Py_ssize_t part = 1 << 20, size = buffer.shape[0], index
    cdef const uint8_t *bytes = &buffer[0] if size else NULL
    cdef uint64_t total = 0
    start = time.perf_counter()
    for index in prange((size + part - 1) // part, nogil=True, num_threads=threads, schedule="dynamic"):
        total += read_bytes(bytes + index * part, min(part, size - index * part))
    return time.perf_counter() - start


cdef const void *start_of(array) except NULL:
    """Where the first number of an array lies, for as long as somebody holds the array."""
    cdef Py_buffer view
    PyObject_GetBuffer(array, &view, PyBUF_STRIDES)
    PyBuffer_Release(&view)
    return view.buf


cdef class Packed:
    """A packed weight in row order, (…, N, D), whose arrays are held while a kernel reads them."""

    cdef object codes, scales
    cdef const Format *format
    cdef size_t matrices, rows, length

    cdef Matrix first(self) except *:
        """The first of the matrices."""
        cdef Matrix matrix
        cdef bint scaled = self.scales is not None
        matrix.format, matrix.rows, matrix.length = self.format, self.rows, self.length
        matrix.row_bytes = <size_t>self.codes.nbytes // (self.matrices * self.rows)
        matrix.row_scales = self.length // 32 if scaled else 0
        matrix.codes = <const uint8_t *>start_of(self.codes)
        matrix.scales = <const uint8_t *>start_of(self.scales) if scaled else NULL
        return matrix


cdef inline Matrix later(Matrix matrix, size_t index) noexcept nogil:
    """The matrix that many places after this one."""
    matrix.codes += index * matrix.rows * matrix.row_bytes
    if matrix.scales != NULL:
        matrix.scales += index * matrix.rows * matrix.row_scales
    return matrix


cdef Packed pack(weight):
    """The bytes of an MXFP4, MXINT8 or bfloat16 weight; None where it is none of them, or is empty.

    Where it is not in row order (an expert that is stored transposed) they are a copy.
    """
    cdef Packed packed = Packed()
    if len(weight.shape) < 2 or 0 in weight.shape:
        return None
    if hasattr(weight, "bits"):
        codes, scales = weight.bits, None
        packed.format = &simd.bfloat16
        as_expected = codes.dtype == np.uint16
    elif hasattr(weight, "blocks"):
        codes, scales = weight.blocks, weight.scales
        packed.format = &simd.mxfp4
        as_expected = codes.dtype == scales.dtype == np.uint8 and codes.shape == (*scales.shape, 16)
    elif hasattr(weight, "integers"):
        codes, scales = weight.integers, weight.scales
        packed.format = &simd.mxint8
        as_expected = codes.dtype == np.int8 and scales.dtype == np.uint8 and codes.shape == (*scales.shape, 32)
    else:
        return None
    if not as_expected:
        return None
    *leading, packed.rows, packed.length = weight.shape
    packed.matrices = math.prod(leading)
    packed.codes = np.ascontiguousarray(codes)
    packed.scales = None if scales is None else np.ascontiguousarray(scales)
    return packed


cdef class Buffer:
    """Bytes that start on a cache line, so that no register's load spans two."""

    cdef uint8_t[::1] held
    cdef uint8_t *start
    cdef size_t size

    def __cinit__(self, size_t size):
        self.held = np.empty(size + CACHE_LINE, np.uint8)
        self.start = &self.held[0] + (-<size_t>&self.held[0]) % CACHE_LINE
        self.size = size


# Each thread's buffers are kept from call to call: new memory would have to be cleared by the system again and again.
kept = threading.local()


cdef Buffer scratch(str name, size_t size):
    """This thread's buffer of that name, of at least this size, with anything in it."""
    cdef Buffer buffer = getattr(kept, name, None)
    if buffer is None or buffer.size < size:
        buffer = Buffer(size)
        setattr(kept, name, buffer)
    return buffer


# Work, in numbers that are read, which one thread has done before the others are awake.
SMALL_WORK = 1 << 16


cdef int enough(int threads, size_t work) except -1:
    """As many threads as the work is worth."""
    return 1 if work < SMALL_WORK else threads


cdef Py_ssize_t stretches_of(Py_ssize_t tasks, int threads, bint few) noexcept:
    """In how many stretches of neighbouring tasks threads take their work.

    Rows that few tokens are multiplied by are read as fast as memory gives them, and best in long stretches; with
    many tokens a task is long enough.
    """
    return min(tasks, 8 * threads) if few else tasks


cdef inline Py_ssize_t start_of_stretch(Py_ssize_t index, Py_ssize_t stretches, Py_ssize_t tasks) noexcept nogil:
    """The first task of a stretch. Long ones come first and short ones last, so that all threads end together."""
    cdef Py_ssize_t left = stretches - index
    return index if stretches == tasks else tasks - tasks * left * left // (stretches * stretches)


cdef void lay_out(
    const Simd *level, Precision precision, const Format *format, const float *x, size_t stride, const Py_ssize_t *rows,
    size_t tokens, size_t together, size_t n, uint8_t *out, uint8_t *panel) noexcept nogil:
    """Lay out up to BLOCK_TOKENS tokens: the rows of x that `rows` names, or the first ones."""
    cdef const float *pointers[BLOCK_TOKENS]
    cdef size_t token
    for token in range(tokens):
        pointers[token] = x + (rows[token] if rows != NULL else <Py_ssize_t>token) * <Py_ssize_t>stride
    lay_out_block(level, precision, format, pointers, tokens, together, n, out, panel)


def matmul(x_TD, weight_ND, *, int threads=1, activations="float32"):
    """Twin of `minioss.linear.matmul`: float32 activations, weights in MXFP4, MXINT8 or bfloat16."""
    products = multiplied(x_TD, [(weight_ND, None)], threads, PRECISIONS[activations])
    return NotImplemented if products is None else products[0]


def linear(x_TD, weights, *, int threads=1, activations="float32"):
    """Twin of `minioss.linear.linear`: as `matmul`, and the bias."""
    products = multiplied(x_TD, [weights], threads, PRECISIONS[activations])
    return NotImplemented if products is None else products[0]


def project(x_TD, weights, Py_ssize_t K, *, int threads=1, activations="float32"):
    """Twin of `minioss.attention.project`: as `linear`, three maps in one parallel region."""
    products = multiplied(x_TD, [weights.query, weights.key, weights.value], threads, PRECISIONS[activations])
    if products is None or any([product.shape[1] % K for product in products]):
        return NotImplemented
    return tuple([product.reshape(len(x_TD), -1, K) for product in products])


cdef enum: MOST_MAPS = 3


cdef struct Map:
    Matrix matrix
    Bias bias  # without numbers where there is none
    float *product
    Py_ssize_t first_task


cdef class Maps:
    """Linear maps of the same x, and room for what they give, held while a kernel works on them."""

    cdef Map each[MOST_MAPS]
    cdef Py_ssize_t count, tasks, rows_a_task
    cdef list held, products

    def __cinit__(self, Py_ssize_t rows_a_task):
        self.held, self.products, self.rows_a_task = [], [], rows_a_task

    cdef bint add(self, x_TD, weight, bias) except -1:
        """One more weight, of the format of those before it, with a bias or None. False where no kernel can serve."""
        cdef Packed packed = pack(weight)
        if packed is None or packed.matrices != 1 or x_TD.shape != (len(x_TD), packed.length):
            return False
        if bias is not None and bias.shape != (packed.rows,):
            return False
        if self.count and packed.format != self.each[0].matrix.format:
            return False
        product_TN = np.empty((len(x_TD), packed.rows), np.float32)
        cdef Biases biases = None if bias is None else Biases(bias[None])
        cdef Map *new = &self.each[self.count]
        new.matrix, new.bias.numbers = packed.first(), NULL
        if biases is not None:
            new.bias = biases.bias
        new.product, new.first_task = <float *>start_of(product_TN), self.tasks
        self.held.append((packed, biases))
        self.products.append(product_TN)
        self.tasks += (packed.rows + self.rows_a_task - 1) // self.rows_a_task
        self.count += 1
        return True

    cdef Map *of(self, Py_ssize_t task) noexcept nogil:
        """The map that a task is a part of."""
        cdef Py_ssize_t index = self.count - 1
        while task < self.each[index].first_task:
            index -= 1
        return &self.each[index]


cdef multiplied(x_TD, pairs, int threads, Precision precision):
    """x Wᵀ + b, (T, N), for up to three weights with a bias or None; None where no kernel can serve."""
    if x_TD.dtype != np.float32 or not x_TD.size:
        return None
    cdef size_t T = len(x_TD), D = x_TD.shape[-1], first, rows = FEW_ROWS if T <= DOT_TOKENS else TASK_ROWS
    cdef Maps maps = Maps(rows)
    for weight, bias in pairs:
        if not maps.add(x_TD, weight, bias):
            return None
    cdef const float[:, ::1] x = np.ascontiguousarray(x_TD)
    cdef const Simd *level = simd
    cdef const Format *format = maps.each[0].matrix.format
    cdef size_t a_token = token_bytes(level, precision, format, D), a_panel = panel_bytes(level, precision, format, D)
    threads = enough(threads, T * maps.tasks * rows * D)
    cdef Py_ssize_t stretches = stretches_of(maps.tasks, threads, T <= DOT_TOKENS)
    cdef Buffer laid_out = scratch("laid_out", (T + BLOCK_TOKENS) * a_token)
    cdef Buffer panels = scratch("panels", threads * a_panel)
    cdef uint8_t *panel = NULL
    cdef Map *map
    cdef Py_ssize_t index, task
    with nogil, parallel(num_threads=threads):
        panel = panels.start + threadid() * a_panel
        for index in prange(<Py_ssize_t>((T + BLOCK_TOKENS - 1) // BLOCK_TOKENS), schedule="static"):
            first = index * BLOCK_TOKENS
            lay_out(
                level, precision, format, &x[first, 0], D, NULL, min(T - first, <size_t>BLOCK_TOKENS), T, D,
                laid_out.start + first * a_token, panel)
        for index in prange(stretches, schedule="dynamic"):
            for task in range(
                start_of_stretch(index, stretches, maps.tasks), start_of_stretch(index + 1, stretches, maps.tasks)
            ):
                map = maps.of(task)
                first = (task - map.first_task) * rows
                multiply_rows(
                    level, precision, &map.matrix, first, min(rows, map.matrix.rows - first), laid_out.start, T,
                    map.product, map.matrix.rows, panel)
        for index in prange(<Py_ssize_t>T, schedule="static"):
            for task in range(maps.count):
                map = &maps.each[task]
                if map.bias.numbers != NULL:
                    add_bias(map.product + index * map.matrix.rows, &map.bias, 0)
    return maps.products


def mix_experts(x_TD, routing, weights, alpha, limit, *, int threads=1, activations="float32"):
    """Twin of `minioss.experts.mix_experts`: float32 activations, MXFP4 experts."""
    if x_TD.dtype != np.float32 or not x_TD.size or not hasattr(weights.gate_up, "blocks"):
        return NotImplemented
    cdef Packed gate_up = pack(weights.gate_up), down = pack(weights.down)
    if gate_up is None or down is None or down.scales is None:
        return NotImplemented
    T, E, D, F, A = len(x_TD), gate_up.matrices, down.rows, down.length, routing.expert_TA.shape[-1]
    shapes = [array.shape for array in (x_TD, *weights, *routing)]
    if shapes != [(T, D), (E, 2 * F, D), (E, 2 * F), (E, D, F), (E, D), (T, A), (T, A)]:
        return NotImplemented
    expert_P = np.ascontiguousarray(routing.expert_TA, np.intp).reshape(-1)
    if not expert_P.size or not all_below(expert_P, E):
        return NotImplemented
    return _mixed(x_TD, routing, weights, expert_P, gate_up, down, alpha, limit, threads, PRECISIONS[activations])


cdef bint all_below(const Py_ssize_t[::1] indices, Py_ssize_t end):
    """Whether every index is one of 0 to end - 1."""
    cdef Py_ssize_t i
    for i in range(indices.shape[0]):
        if not 0 <= indices[i] < end:
            return False
    return True


cdef class Segments:
    """Pairs of token and expert, sorted by expert: a segment is an expert's tokens, in their order.

    Every segment starts at a slot that is a multiple of BLOCK_TOKENS; a block is a part of a segment.
    """

    cdef Py_ssize_t[::1] expert, slot, count  # of each segment
    cdef Py_ssize_t[::1] block_segment, block_slot  # of each block
    cdef Py_ssize_t[::1] token  # of each slot
    cdef Py_ssize_t[::1] slot_of_pair
    cdef Py_ssize_t segments, blocks, slots
    cdef Py_ssize_t[::1] room
    cdef Py_ssize_t taken

    def __cinit__(self, const Py_ssize_t[::1] expert_P, Py_ssize_t experts, Py_ssize_t active):
        cdef Py_ssize_t P = expert_P.shape[0], p, e
        cdef Py_ssize_t largest = min(P, experts), slots = P + largest * (BLOCK_TOKENS - 1)
        cdef Py_ssize_t blocks = slots // BLOCK_TOKENS + 1
        self.room = np.zeros(2 * experts + 3 * largest + 2 * blocks + slots + P, np.intp)
        cdef Py_ssize_t[::1] filled = self._take(experts), first = self._take(experts)
        self.expert, self.slot, self.count = self._take(largest), self._take(largest), self._take(largest)
        self.block_segment, self.block_slot = self._take(blocks), self._take(blocks)
        self.token, self.slot_of_pair = self._take(slots), self._take(P)
        for p in range(P):
            filled[expert_P[p]] += 1
        for e in range(experts):
            if filled[e]:
                first[e] = self.slots
                self._append(e, filled[e])
                filled[e] = 0
        for p in range(P):
            e = expert_P[p]
            self.slot_of_pair[p] = first[e] + filled[e]
            self.token[first[e] + filled[e]] = p // active
            filled[e] += 1

    cdef Py_ssize_t[::1] _take(self, Py_ssize_t count):
        # From one array: to make ten of them would take longer than to sort a token's pairs.
        self.taken += count
        return self.room[self.taken - count : self.taken]

    cdef void _append(self, Py_ssize_t expert, Py_ssize_t count) noexcept:
        cdef Py_ssize_t part
        self.expert[self.segments], self.slot[self.segments], self.count[self.segments] = expert, self.slots, count
        for part in range(0, count, BLOCK_TOKENS):
            self.block_segment[self.blocks], self.block_slot[self.blocks] = self.segments, self.slots
            self.blocks += 1
            self.slots += BLOCK_TOKENS
        self.segments += 1


cdef class Biases:
    """The biases of all experts, (E, n), whose bytes are held while a kernel reads them."""

    cdef object held
    cdef Bias bias

    def __cinit__(self, bias_EN):
        bits = getattr(bias_EN, "bits", None)
        self.bias.wide = bits is None
        self.held = np.ascontiguousarray(bias_EN, np.float32) if bits is None else np.ascontiguousarray(bits, np.uint16)
        self.bias.numbers = start_of(self.held)
        self.bias.length = self.held.shape[1]


cdef inline Py_ssize_t tasks_of(Matrix matrix) noexcept nogil:
    """In how many tasks an expert's rows are multiplied."""
    return <Py_ssize_t>((matrix.rows + TASK_ROWS - 1) // TASK_ROWS)


cdef void multiply_stretch(
    const Simd *level, Precision precision, Segments pairs, Matrix first_expert, Py_ssize_t index, Py_ssize_t stretches,
    const uint8_t *laid_out, size_t a_token, float *y, uint8_t *panel) noexcept nogil:
    """A stretch of the tasks that multiply every chosen expert's rows by its tokens."""
    cdef Py_ssize_t rows = first_expert.rows, a_segment = tasks_of(first_expert), tasks = pairs.segments * a_segment
    cdef Py_ssize_t task, u, first
    cdef Matrix matrix
    for task in range(start_of_stretch(index, stretches, tasks), start_of_stretch(index + 1, stretches, tasks)):
        u, first = task // a_segment, task % a_segment * TASK_ROWS
        matrix = later(first_expert, pairs.expert[u])
        multiply_rows(
            level, precision, &matrix, first, min(rows - first, <Py_ssize_t>TASK_ROWS),
            laid_out + pairs.slot[u] * a_token, pairs.count[u], y + pairs.slot[u] * rows, rows, panel)


cdef _mixed(
    x_TD, routing, weights, expert_P, Packed gate_up, Packed down, float alpha, float limit, int threads,
    Precision precision):
    """Gather, gate/up, SwiGLU, down and scatter in one parallel region."""
    cdef Py_ssize_t A = routing.expert_TA.shape[1], T = x_TD.shape[0], D = down.rows, F = down.length
    cdef const Py_ssize_t[::1] expert = expert_P
    cdef Segments pairs = Segments(expert_P, gate_up.matrices, A)
    cdef Biases gate_up_bias = Biases(weights.gate_up_bias), down_bias = Biases(weights.down_bias)
    cdef const float[::1] share = np.ascontiguousarray(routing.weight_TA, np.float32).reshape(-1)
    cdef const float[:, ::1] x = np.ascontiguousarray(x_TD)
    cdef const Simd *level = simd
    cdef Matrix first_up = gate_up.first(), first_down = down.first()
    cdef size_t x_bytes = token_bytes(level, precision, gate_up.format, D)
    cdef size_t activation_bytes = token_bytes(level, precision, down.format, F)
    cdef size_t a_panel = max(
        panel_bytes(level, precision, gate_up.format, D), panel_bytes(level, precision, down.format, F))
    threads = enough(threads, T * A * F * D)
    cdef Buffer laid_out = scratch("laid_out", pairs.slots * max(x_bytes, activation_bytes))
    cdef Buffer panels = scratch("panels", threads * a_panel)
    cdef Buffer floats = scratch("floats", pairs.slots * (3 * F + D) * sizeof(float))
    cdef float *hidden = <float *>floats.start
    cdef float *activation = hidden + pairs.slots * 2 * F
    cdef float *result = activation + pairs.slots * F
    y_TD = np.zeros((T, D), np.float32)
    cdef float[:, ::1] y = y_TD
    cdef uint8_t *panel = NULL
    cdef bint few = T * A <= DOT_TOKENS * pairs.segments
    cdef Py_ssize_t stretches_up = stretches_of(pairs.segments * tasks_of(first_up), threads, few)
    cdef Py_ssize_t stretches_down = stretches_of(pairs.segments * tasks_of(first_down), threads, few)
    cdef Py_ssize_t index, u, a, t, slot, count
    with nogil, parallel(num_threads=threads):
        panel = panels.start + threadid() * a_panel
        for index in prange(pairs.blocks, schedule="dynamic"):
            u, slot = pairs.block_segment[index], pairs.block_slot[index]
            count = min(pairs.slot[u] + pairs.count[u] - slot, <Py_ssize_t>BLOCK_TOKENS)
            lay_out(
                level, precision, gate_up.format, &x[0, 0], D, &pairs.token[slot], count, pairs.count[u], D,
                laid_out.start + slot * x_bytes, panel)
        for index in prange(stretches_up, schedule="dynamic"):
            multiply_stretch(
                level, precision, pairs, first_up, index, stretches_up, laid_out.start, x_bytes, hidden,
                panel)
        for index in prange(pairs.blocks, schedule="dynamic"):
            u, slot = pairs.block_segment[index], pairs.block_slot[index]
            count = min(pairs.slot[u] + pairs.count[u] - slot, <Py_ssize_t>BLOCK_TOKENS)
            for t in range(slot, slot + count):
                add_bias(hidden + t * 2 * F, &gate_up_bias.bias, pairs.expert[u])
                level.swiglu(hidden + t * 2 * F, activation + t * F, F, alpha, limit)
            lay_out(
                level, precision, down.format, activation + slot * F, F, NULL, count, pairs.count[u], F,
                laid_out.start + slot * activation_bytes, panel)
        for index in prange(stretches_down, schedule="dynamic"):
            multiply_stretch(
                level, precision, pairs, first_down, index, stretches_down, laid_out.start, activation_bytes, result,
                panel)
        for t in prange(T, schedule="static"):
            for a in range(A):
                slot = pairs.slot_of_pair[t * A + a]
                add_weighted(
                    &y[t, 0], result + slot * D, &down_bias.bias, expert[t * A + a], share[t * A + a])
    return y_TD


def quantize_rows(weight_ND, *, int threads=1):
    """Twin of `minioss.mxint8.quantize_rows`, for bfloat16 weights."""
    bits = getattr(weight_ND, "bits", None)
    if bits is None or bits.dtype != np.uint16 or bits.ndim != 2 or not bits.size or bits.shape[1] % 32:
        return NotImplemented
    cdef size_t N = bits.shape[0], D = bits.shape[1]
    cdef Biases rows = Biases(weight_ND)
    integers_NB = np.empty((N, D // 32, 32), np.int8)
    scales_NB = np.empty((N, D // 32), np.uint8)
    cdef int8_t[:, :, ::1] integers = integers_NB
    cdef uint8_t[:, ::1] scales = scales_NB
    cdef float[:, ::1] values = np.empty((threads, D), np.float32)
    cdef Py_ssize_t n
    cdef float *row = NULL
    with nogil, parallel(num_threads=threads):
        row = &values[threadid(), 0]
        for n in prange(<Py_ssize_t>N, schedule="static"):
            memset(row, 0, D * sizeof(float))
            add_bias(row, &rows.bias, n)
            quantize_row(row, D, &integers[n, 0, 0], &scales[n, 0])
    return integers_NB, scales_NB


cdef Heads heads_of(rows_SHK, held):
    """The keys or values of head 0, float32 or bfloat16; `numbers` is NULL where they lie in another way."""
    cdef Heads heads
    bits = getattr(rows_SHK, "bits", None)
    array = rows_SHK if bits is None else bits
    heads.wide, heads.numbers, heads.stride, heads.head_stride = bits is None, NULL, 0, 0
    cdef Py_ssize_t row, head, number, size = sizeof(uint16_t) if bits is not None else sizeof(float)
    row, head, number = array.strides
    as_expected = array.dtype == np.float32 if bits is None else array.dtype == np.uint16
    aligned = number == size and row >= 0 and head >= 0 and row % size == 0 and head % size == 0
    if as_expected and array.size and aligned:
        held.append(array)
        heads.numbers = start_of(array)
        heads.stride, heads.head_stride = row // size, head // size
    return heads


def attend(query_TnK, key_SHK, value_SHK, sinks_n, window, *, int threads=1):
    """Twin of `minioss.attention.attend`: float32 queries, keys and values in float32 or bfloat16."""
    if len(query_TnK.shape) != 3 or len(key_SHK.shape) != 3 or 0 in key_SHK.shape:
        return NotImplemented
    T, n, K = query_TnK.shape
    S, H, _ = key_SHK.shape
    if query_TnK.dtype != np.float32 or sinks_n.dtype != np.float32 or not query_TnK.size or T > S:
        return NotImplemented
    if K % 16 or K > LARGEST_HEAD or n % H or n // H > QUERY_ROWS:
        return NotImplemented
    if key_SHK.shape != (S, H, K) or value_SHK.shape != (S, H, K) or sinks_n.shape != (n,):
        return NotImplemented
    held = []
    cdef Heads key = heads_of(key_SHK, held), value = heads_of(value_SHK, held), one_key, one_value
    if key.numbers == NULL or value.numbers == NULL:
        return NotImplemented
    cdef const float[:, :, ::1] query = np.ascontiguousarray(query_TnK)
    cdef const float[::1] sinks = np.ascontiguousarray(sinks_n)
    mixed_TnK = np.empty((T, n, K), np.float32)
    cdef float[:, :, ::1] mixed = mixed_TnK
    cdef size_t heads = H, group = n // H, head_size = K, tokens = T, before = S - T, seen = S if window is None else window
    cdef size_t some = QUERY_ROWS // group, first, head
    cdef const Simd *level = simd
    cdef Py_ssize_t task
    threads = enough(threads, query_TnK.size * min(before + tokens, seen))
    for task in prange(
        <Py_ssize_t>((tokens + some - 1) // some * heads), nogil=True, num_threads=threads, schedule="dynamic"
    ):
        # Late tokens see the most: they come first.
        first, head = (tokens - 1) // some * some - task // heads * some, task % heads
        one_key, one_value = later_head(key, head), later_head(value, head)
        attend_head(
            level, &query[first, head * group, 0], one_key, one_value, &sinks[head * group], min(some, tokens - first),
            group, head_size, before + first, seen, &mixed[first, head * group, 0], heads * group * head_size)
    return mixed_TnK


cdef inline Heads later_head(Heads heads, size_t head) noexcept nogil:
    """The keys or values of the head that many places after this one."""
    heads.numbers = <const char *>heads.numbers + head * heads.head_stride * (sizeof(float) if heads.wide else sizeof(uint16_t))
    return heads


def rms_norm(x_TD, gain_D, float eps, *, int threads=1):
    """Twin of `minioss.rmsnorm.rms_norm`, in float32."""
    if x_TD.dtype != np.float32 or gain_D.dtype != np.float32 or not x_TD.size:
        return NotImplemented
    if x_TD.ndim != 2 or gain_D.shape != x_TD.shape[1:]:
        return NotImplemented
    cdef const float[:, ::1] x = np.ascontiguousarray(x_TD)
    cdef const float[::1] gain = np.ascontiguousarray(gain_D)
    y_TD = np.empty(x_TD.shape, np.float32)
    cdef float[:, ::1] y = y_TD
    cdef Py_ssize_t t
    threads = enough(threads, x_TD.size)
    for t in prange(x.shape[0], nogil=True, num_threads=threads, schedule="static"):
        normalise(&x[t, 0], &gain[0], x.shape[1], eps, &y[t, 0])
    return y_TD


def rotate(x_THK, rotation, *, int threads=1):
    """Twin of `minioss.rope.rotate`, in float32."""
    cos_Tk, sin_Tk = rotation
    if x_THK.ndim != 3:
        return NotImplemented
    T, H, K = x_THK.shape
    if x_THK.dtype != np.float32 or cos_Tk.dtype != np.float32 or sin_Tk.dtype != np.float32 or not x_THK.size:
        return NotImplemented
    if cos_Tk.shape != (T, K // 2) or sin_Tk.shape != (T, K // 2) or K % 2:
        return NotImplemented
    cdef const float[:, :, ::1] x = np.ascontiguousarray(x_THK)
    cdef const float[:, ::1] cosine = np.ascontiguousarray(cos_Tk), sine = np.ascontiguousarray(sin_Tk)
    y_THK = np.empty((T, H, K), np.float32)
    cdef float[:, :, ::1] y = y_THK
    cdef Py_ssize_t t
    threads = enough(threads, x_THK.size)
    for t in prange(x.shape[0], nogil=True, num_threads=threads, schedule="static"):
        turn_heads(&x[t, 0, 0], &cosine[t, 0], &sine[t, 0], x.shape[1], x.shape[2], &y[t, 0, 0])
    return y_THK
