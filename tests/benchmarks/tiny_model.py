"""What the tiny model can do: the tables of docs/tiny-model.md.

    python -m tests.benchmarks.tiny_model [FOLDER] [--questions 500]

Abilities are greedy, on questions held out from training. Losses are of tales held out, in nats a token.
Experts are counted on tales held out and on conversations drawn anew, by the channel that a token belongs to.
"""

import argparse
from collections.abc import Iterable, Iterator

import numpy as np
import tiktoken

import minioss
from minioss.text.harmony.parsing import Parser
from minioss.training.abilities import abilities
from minioss.training.corpus.conversations import EFFORTS, conversation, example
from minioss.training.corpus.evaluation import KINDS, questions
from minioss.training.corpus.mixture import PASSAGE
from minioss.training.corpus.tales import held_out_tales, tales
from minioss.training.validation import model_loss, trigram_loss

CONVERSATIONS = 300
KINDS_OF_TOKENS = ("tale", "prompt", "analysis", "commentary", "final")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", default=minioss.TINY)
    parser.add_argument("--questions", type=int, default=500)
    options = parser.parse_args()
    model = minioss.load(options.folder)
    encoding = minioss.load_tokenizer(options.folder)
    print_losses(model, encoding)
    print_abilities(model, encoding, options.questions)
    print_experts(model, encoding)


def print_losses(model: minioss.Model, encoding: tiktoken.Encoding) -> None:
    """Of the tales held out."""
    read, unread = ([encoding.encode_ordinary(text) for text in texts] for texts in (tales(), held_out_tales()))
    ours, counted = model_loss(model, unread, PASSAGE), trigram_loss(read, unread, model.config.vocab_size)
    print(f"tales held out, {sum(map(len, unread))} tokens: {ours:.3f} nats a token, trigrams {counted:.3f}\n")


def print_abilities(model: minioss.Model, encoding: tiktoken.Encoding, count: int) -> None:
    """A line for each kind of question and effort; with a function offered, and without."""
    print("| kind | function | effort | right | well-formed | called | reasoning |\n|---|---|---|---|---|---|---|")
    for name in KINDS:
        for offered in (False, True):
            for effort in EFFORTS:
                found = abilities(model, encoding, questions(name, effort, count, offered))
                shares = " | ".join(f"{100 * share:.1f} %" for share in found[1:4])
                said = "offered" if offered else "none"
                print(f"| {name} | {said} | {effort} | {shares} | {found.reasoning:.0f} |", flush=True)


def print_experts(model: minioss.Model, encoding: tiktoken.Encoding) -> None:
    """A line a layer: how evenly the experts are used, in bits, and the least used expert's share."""
    layers = range(model.config.num_hidden_layers)
    kind_T, logits, experts = [], [], []
    for ids, kinds in texts(encoding):
        found = minioss.trace(model, ids, ["*.router.logits", "*.router.experts"])
        kind_T += kinds
        logits.append([found[f"layers.{layer}.router.logits"] for layer in layers])
        experts.append([found[f"layers.{layer}.router.experts"] for layer in layers])
    logits_LTE, expert_LTA = np.concatenate(logits, axis=1), np.concatenate(experts, axis=1)
    groups = {name: np.flatnonzero(np.array(kind_T) == name) for name in KINDS_OF_TOKENS}
    print(f"\n| layer | least used | {' | '.join(groups)} |\n|---|---|{'---|' * len(groups)}")
    for layer, (logits_TE, expert_TA) in enumerate(zip(logits_LTE, expert_LTA)):
        cells = [
            f"{of_token(logits_TE[g]):.2f}, {of_load(expert_TA[g], logits_TE.shape[1]):.2f}" for g in groups.values()
        ]
        # Every kind of token counts alike, however many there are.
        shares = [
            np.bincount(expert_TA[g].ravel(), minlength=logits_TE.shape[1]) / expert_TA[g].size for g in groups.values()
        ]
        print(f"| {layer} | {100 * np.mean(shares, axis=0).min():.1f} % | {' | '.join(cells)} |")


def texts(encoding: tiktoken.Encoding) -> Iterator[tuple[list[int], list[str]]]:
    """Conversations drawn anew, and the beginnings of the tales held out; with the kind of each token."""
    random = np.random.default_rng(20)
    for _ in range(CONVERSATIONS):
        ids = example(random, conversation(random), encoding).ids
        yield ids, channels(encoding, ids)
    for text in held_out_tales():
        ids = encoding.encode_ordinary(text)[:PASSAGE]
        yield ids, ["tale"] * len(ids)


def channels(encoding: tiktoken.Encoding, ids: Iterable[int]) -> list[str]:
    """The channel of each token that the assistant writes, or "prompt"."""
    parser, found = Parser(encoding), []
    for token in ids:
        parser.push(token)
        message = parser.current
        found.append(message.channel if message and message.role == "assistant" and message.channel else "prompt")
    return found


def of_token(logits_TE: np.ndarray) -> float:
    """The mean entropy of the router's softmax over all experts, in bits: how undecided it is about a token."""
    p_TE = np.exp(logits_TE - logits_TE.max(axis=-1, keepdims=True))
    p_TE /= p_TE.sum(axis=-1, keepdims=True)
    return float(-np.sum(p_TE * np.log2(np.maximum(p_TE, 1e-30)), axis=-1).mean())


def of_load(expert_TA: np.ndarray, experts: int) -> float:
    """The entropy of the experts' shares, in bits: log2 of their number where all are used alike."""
    share_E = np.bincount(expert_TA.ravel(), minlength=experts) / expert_TA.size
    return float(-np.sum(share_E * np.log2(np.maximum(share_E, 1e-30))))


if __name__ == "__main__":
    main()
