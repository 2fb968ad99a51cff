"""Two engines behind one face: read token ids, forget them. No sampling, no text."""

import ctypes
from typing import Any, Protocol


class Engine(Protocol):
    """A loaded model and one text; ``about`` says what it runs on."""

    about: str
    vocab_size: int

    def read(self, ids: list[int]) -> None:
        """Extend the text, and compute the logits of its last position."""

    def forget(self) -> None:
        """Start an empty text."""


class Minioss:
    """minioss through its Python API; ``options`` are keywords of ``minioss.load``."""

    def __init__(self, folder: str, threads: int, **options: Any) -> None:
        import minioss
        from minioss import kernels

        self._model = minioss.load(folder, threads=threads, **options)
        self.about = kernels.MISSING or f"Cython with {kernels.instruction_set()}"
        self.vocab_size = self._model.config.vocab_size
        self.forget()

    def read(self, ids: list[int]) -> None:
        self._model(ids, cache=self._cache, logits="last")

    def forget(self) -> None:
        self._cache = self._model.new_cache()


class LlamaCpp:
    """llama.cpp through its C API, as the package llama-cpp-python exposes it.

    ``repacked`` is llama.cpp's default: weights are copied into the order that its fastest kernels
    want. Otherwise they are used in place, mapped from the file.
    """

    def __init__(self, file: str, threads: int, length: int, repacked: bool) -> None:
        import llama_cpp

        self._c = llama_cpp
        self._silent = llama_cpp.llama_log_callback(lambda *_: None)  # kept: C calls it as long as it runs
        llama_cpp.llama_log_set(self._silent, ctypes.c_void_p())
        llama_cpp.llama_backend_init()
        self.about = llama_cpp.llama_print_system_info().decode()
        options = llama_cpp.llama_model_default_params()
        options.n_gpu_layers, options.use_extra_bufts = 0, repacked
        self._model = llama_cpp.llama_model_load_from_file(file.encode(), options)
        if not self._model:
            raise SystemExit(f"llama.cpp cannot load {file}")
        self.vocab_size = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self._model))
        options = llama_cpp.llama_context_default_params()
        options.n_ctx = options.n_batch = length
        options.n_threads = options.n_threads_batch = threads
        options.swa_full = False  # as in llama.cpp's own llama-bench: sliding layers keep their window alone
        self._context = llama_cpp.llama_init_from_model(self._model, options)

    def read(self, ids: list[int]) -> None:
        tokens = (self._c.llama_token * len(ids))(*ids)
        status = self._c.llama_decode(self._context, self._c.llama_batch_get_one(tokens, len(ids)))
        if status:
            raise SystemExit(f"llama_decode failed with status {status}")
        self._c.llama_get_logits_ith(self._context, -1)

    def forget(self) -> None:
        self._c.llama_memory_clear(self._c.llama_get_memory(self._context), True)
