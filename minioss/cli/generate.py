"""``minioss generate``: continue a text."""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import tiktoken

from minioss import machine
from minioss.checkpoint.loading import TINY, load
from minioss.cli.options import (
    add_model_options,
    add_sampling_options,
    folder_and_prompt,
    model_options,
    sampling_options,
)
from minioss.cli.progress import ProgressBar
from minioss.errors import InputError
from minioss.model import Model
from minioss.text.display import harmless
from minioss.text.generation import Token, generate, generate_batch
from minioss.text.streaming import TextStream, stream_text
from minioss.text.tokenizer import load_tokenizer, token_bytes


def add_to(commands: argparse._SubParsersAction) -> None:
    """Define the command's arguments."""
    parser = commands.add_parser(
        "generate",
        help="continue a text",
        usage="minioss generate [FOLDER] PROMPT [options]\n       minioss generate [FOLDER] --prompts FILE [options]",
        epilog="Without FOLDER, the tiny model in the package goes on.",
    )
    parser.add_argument(
        "arguments", nargs="*", metavar="FOLDER PROMPT", help="the model folder, and the raw text to continue"
    )
    parser.add_argument("--prompts", metavar="FILE", help="continue several texts at once: one a line")
    parser.add_argument("--max-new-tokens", type=int, default=256, metavar="N", help="stop after N tokens (256)")
    parser.add_argument("--stop", action="append", default=[], metavar="TEXT", help="end before TEXT (may be repeated)")
    parser.add_argument("--logprobs", type=int, metavar="N", help="instead of text, a line a token, with the N best")
    parser.add_argument("--verbose", action="store_true", help="tokens a second and memory, on stderr")
    add_sampling_options(parser)
    add_model_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Load, continue, print."""
    folder, prompts = _inputs(options)
    model = load(folder, **model_options(options))
    encoding = load_tokenizer(folder, model.config.vocab_size)
    ids = [encoding.encode(prompt, allowed_special="all") for prompt in prompts]
    if options.prompts:
        if options.logprobs is not None:
            raise InputError("--logprobs is for one prompt; expected no --prompts beside it")
        return _print_batch(model, encoding, prompts, ids, options)
    return _print_one(model, encoding, ids[0], options)


def _inputs(options: argparse.Namespace) -> tuple[str | Path, list[str]]:
    """The folder and the prompts, or what is missing."""
    given = options.arguments
    if options.prompts:
        if len(given) > 1:
            raise InputError(
                f"there is a prompt {given[1]!r} and a file --prompts {options.prompts}; expected one of them"
            )
        return given[0] if given else TINY, _read_prompts(Path(options.prompts))
    folder, prompt = folder_and_prompt("generate", given)
    return folder, [prompt]


def _read_prompts(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text: {error}") from None
    for number, line in enumerate(lines, 1):
        if not line:
            raise InputError(f"line {number} of {path} is empty; expected a prompt on each line")
    if not lines:
        raise InputError(f"{path} is empty; expected a prompt on each line")
    return lines


def _sampling(options: argparse.Namespace) -> dict:
    return sampling_options(options) | {"max_new_tokens": options.max_new_tokens, "top_logprobs": options.logprobs or 0}


def _show(text: str, end: str = "") -> None:
    print(harmless(text) if sys.stdout.isatty() else text, end=end, flush=True)


def _print_one(model: Model, encoding: tiktoken.Encoding, ids: list[int], options: argparse.Namespace) -> int:
    clock = Clock(len(ids))
    bar = ProgressBar("reading the prompt")
    tokens = clock.watch(generate(model, ids, progress=bar, **_sampling(options)))
    if options.logprobs is not None:
        for token in tokens:
            print(_logprob_line(token, encoding), flush=True)
    else:
        text = (token for token in tokens if token not in model.stop_tokens)
        for piece in stream_text(text, encoding, options.stop):
            _show(piece)
        print()
    if options.verbose:
        clock.report()
    return 0


def _logprob_line(token: Token, encoding: tiktoken.Encoding) -> str:
    def spelled(entry: int) -> str:
        return repr(token_bytes(encoding, entry).decode("utf-8", "backslashreplace"))

    best = "  ".join(f"{spelled(entry.token)} {entry.logprob:.3f}" for entry in token.top_logprobs)
    return f"{int(token):6d} {spelled(token):20} {token.logprob:8.3f}   {best}".rstrip()


def _print_batch(
    model: Model, encoding: tiktoken.Encoding, prompts: list[str], ids: list[list[int]], options: argparse.Namespace
) -> int:
    streams = [TextStream(encoding, options.stop) for _ in prompts]
    texts = [""] * len(prompts)
    clock = Clock(sum(map(len, ids)))
    rows = generate_batch(model, ids, progress=ProgressBar("reading the prompts"), **_sampling(options))
    bar = ProgressBar("writing")
    for count, row in enumerate(clock.watch(rows), 1):
        for index, token in enumerate(row):
            if token is not None and token not in model.stop_tokens:
                texts[index] += streams[index].push(token)
        bar(count, options.max_new_tokens)
        if all(stream.stopped for stream in streams):
            break
    bar.wipe()
    for prompt, text, stream in zip(prompts, texts, streams, strict=True):
        _show(f"> {prompt}\n{text}{stream.finish()}\n", end="\n")
    if options.verbose:
        clock.report()
    return 0


class Clock:
    """Counts and times what a generation gives out."""

    def __init__(self, prompt_tokens: int) -> None:
        self._prompt_tokens = prompt_tokens
        self._times = [time.perf_counter()]
        self._tokens = 0

    def watch(self, rows: Iterator) -> Iterator:
        """Hand on tokens, or rows of them, and note when each came."""
        for row in rows:
            self._times.append(time.perf_counter())
            self._tokens += sum(token is not None for token in row) if isinstance(row, list) else 1
            yield row

    def report(self) -> None:
        """Tokens a second, and memory, on stderr."""
        start, *ends = self._times
        if not ends:
            return
        first = ends[0] - start
        print(
            f"prompt: {self._prompt_tokens} tokens in {first:.2f} s, {self._prompt_tokens / first:.2f} tokens/s",
            file=sys.stderr,
        )
        if len(ends) > 1:
            seconds = ends[-1] - ends[0]
            per_row = self._tokens / len(ends)
            rate = per_row * (len(ends) - 1) / seconds
            print(f"text: {self._tokens} tokens, {rate:.2f} tokens/s, {1 / rate:.3f} s a token", file=sys.stderr)
        own, peak = machine.own_memory(), machine.peak_memory()
        if own is not None:
            print(f"memory beyond mapped files: {own / 1e9:.2f} GB", file=sys.stderr)
        if peak is not None:
            print(f"peak memory, mapped files included: {peak / 1e9:.2f} GB", file=sys.stderr)
