"""``minioss explore``: a page to look inside."""

import argparse
from pathlib import Path

import tiktoken

from minioss.chat.conversation import Chat
from minioss.checkpoint.loading import load
from minioss.checkpoint.whole import whole
from minioss.cli.options import folder_and_prompt
from minioss.cli.units import size
from minioss.errors import InputError
from minioss.explore.content import checked_length
from minioss.explore.page import explore_page
from minioss.model import Model
from minioss.text.generation import generate
from minioss.text.harmony.messages import Message
from minioss.text.harmony.rendering import render_prompt
from minioss.text.tokenizer import load_tokenizer


def add_to(commands: argparse._SubParsersAction) -> None:
    """Define the command's arguments."""
    parser = commands.add_parser(
        "explore",
        help="make a page that shows what the model does with each token",
        usage="minioss explore [FOLDER] PROMPT -o OUT [options]",
        epilog="Without FOLDER, it is the tiny model in the package.",
    )
    parser.add_argument(
        "arguments", nargs="+", metavar="FOLDER PROMPT", help="the model folder, and the text to look at"
    )
    parser.add_argument("-o", "--out", required=True, metavar="OUT", help="the .html file to make")
    parser.add_argument("--chat", action="store_true", help="the prompt is a question, asked as chat asks it")
    parser.add_argument(
        "--new-tokens", type=int, default=0, metavar="N", help="go on for N tokens first, the most probable each time"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Load, continue, make the page, write it, and say how large it is."""
    out = Path(options.out)
    if out.exists():
        raise InputError(f"{out} exists; expected a file that is still to be made")
    folder, text = folder_and_prompt("explore", options.arguments)
    if options.new_tokens < 0:
        raise InputError(f"--new-tokens is {options.new_tokens}; expected 0 or more")
    model = load(folder)
    encoding = load_tokenizer(folder, model.config.vocab_size)
    prompt = prompt_ids(text, options.chat, model, encoding)
    checked_length(model, len(prompt) + options.new_tokens)
    ids = prompt + reply_ids(model, prompt, options.new_tokens)
    page = explore_page(model, encoding, ids, len(prompt)).encode()
    with whole(out, "file", len(page)) as partial:
        partial.write_bytes(page)
    print(f"{out}: {len(ids)} tokens in {model.config.num_hidden_layers} layers, {size(len(page))}")
    return 0


def prompt_ids(prompt: str, chat: bool, model: Model, encoding: tiktoken.Encoding) -> list[int]:
    """The ids of a raw text, or of a conversation that begins with it as a question."""
    if not chat:
        return encoding.encode(prompt, allowed_special="all")
    return render_prompt([*Chat(model, encoding=encoding).conversation(), Message("user", prompt)], encoding)


def reply_ids(model: Model, prompt: list[int], count: int) -> list[int]:
    """What the model says next; at most ``count`` ids."""
    if count == 0:
        return []
    return list(map(int, generate(model, prompt, max_new_tokens=count, temperature=0.0)))
