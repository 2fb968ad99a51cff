"""A model that says what a test wants: it computes as any other and fills its cache, but its logits follow a script.

    python -m tests.scripted FOLDER SCRIPT.json ARGUMENT…

runs ``minioss ARGUMENT…`` with it in place of the model in FOLDER.
"""

import dataclasses
import json
import sys
import time
from pathlib import Path

import numpy as np

import minioss
from minioss import cli
from minioss.model import Model
from minioss.text.tokenizer import load_tokenizer


@dataclasses.dataclass(frozen=True)
class Scripted(Model):
    """Says one reply after the other; a new one begins with every prompt.

    Parameters
    ----------
    replies : token ids
    pause : seconds before each token
    prompts : the lengths of what was read before each reply is appended here
    """

    replies: list[list[int]] = dataclasses.field(default_factory=list)
    pause: float = 0.0
    prompts: list[int] = dataclasses.field(default_factory=list)
    _left: list[int] = dataclasses.field(default_factory=list)
    _said: list[int] = dataclasses.field(default_factory=list)

    def batch(self, prompts, caches, logits="last", progress=None):
        (given,) = prompts
        real = super().batch(prompts, caches, logits, progress)
        if list(given) != self._said[-1:]:
            self.prompts.append(len(given))
            self._left[:] = self.replies.pop(0)
        time.sleep(self.pause)
        self._said.append(self._left.pop(0))
        scripted = np.zeros_like(real[0])
        scripted[-1, self._said[-1]] = 1e4
        return [scripted]


def scripted(model: Model, replies: list[str], pause: float = 0.0) -> Scripted:
    """The model, with replies in which special tokens are spelled out: ``<|channel|>final<|message|>Hi<|return|>``."""
    encoding = load_tokenizer(model.folder, model.config.vocab_size)
    tokens = [encoding.encode(reply, allowed_special="all") for reply in replies]
    fields = {field.name: getattr(model, field.name) for field in dataclasses.fields(Model)}
    return Scripted(**fields, replies=tokens, pause=pause)


def main() -> int:
    folder, script, *arguments = sys.argv[1:]
    replies = json.loads(Path(script).read_text())
    model = scripted(minioss.load(folder), **replies)
    cli.chat.load = lambda *_, **__: model
    return cli.main(arguments)


if __name__ == "__main__":
    sys.exit(main())
