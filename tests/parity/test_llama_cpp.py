"""llama.cpp loads the GGUF files and computes the same model."""

import json
import urllib.request

import numpy as np
import pytest

import minioss
from minioss.checkpoint import tokenizer_json
from minioss.checkpoint.gguf import write_gguf
from tests.models import nmse, small_config, synthesize
from tests.ranks import ranks

xllamacpp = pytest.importorskip("xllamacpp")


class Server:
    """llama.cpp's server on one file."""

    def __init__(self, file):
        options = xllamacpp.CommonParams()
        options.model.path = str(file)
        options.n_ctx, options.n_parallel, options.warmup, options.verbosity = 512, 1, False, 0
        self._server = xllamacpp.Server(options)

    def ask(self, path, **content):
        request = urllib.request.Request(
            self._server.listening_address + path, json.dumps(content).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def logprobs(self, ids, vocab_size):
        """Log-probabilities of the next token, (V,)."""
        answer = self.ask("/completion", prompt=ids, n_predict=1, n_probs=vocab_size, temperature=0, cache_prompt=False)
        by_id = {entry["id"]: entry["logprob"] for entry in answer["completion_probabilities"][0]["top_logprobs"]}
        return np.array([by_id[token] for token in range(vocab_size)])


@pytest.mark.parametrize("dense", ["bfloat16", "int8"])
def test_the_same_probabilities(tmp_path, dense):
    # llama.cpp always rounds YaRN's ramp. Its products read activations as int8, and with random weights a
    # rounding can change which experts a token takes: hence the middle one of several texts.
    config = small_config(rope=minioss.RopeConfig(truncate=True, original_max_position_embeddings=64))
    folder = synthesize(tmp_path, config)
    write_gguf(folder, tmp_path / "out.gguf", dense)
    server, model = Server(tmp_path / "out.gguf"), minioss.load(folder, dtype="float64")
    errors = []
    for seed in range(15):
        ids = np.random.default_rng(seed).integers(config.vocab_size, size=1 + 5 * seed).tolist()
        logits_V = model(ids, logits="last")[0]
        errors.append(nmse(server.logprobs(ids, config.vocab_size), logits_V - np.logaddexp.reduce(logits_V)))
    assert np.median(errors) < 1e-3


def test_the_same_ids_of_text(tmp_path):
    """The official vocabulary, with merges that are derived from it."""
    special = {"<|start|>": 200006, "<|end|>": 200007, "<|message|>": 200008, "<|return|>": 200002}
    vocabulary = tokenizer_json.Vocabulary(ranks(), special, tokenizer_json.PATTERN)
    (tmp_path / "given.json").write_text(json.dumps(tokenizer_json.to_json(vocabulary)))
    config = small_config(num_hidden_layers=1, vocab_size=tokenizer_json.OFFICIAL_VOCABULARY)
    folder = synthesize(tmp_path, config, tokenizer=tmp_path / "given.json")
    write_gguf(folder, tmp_path / "out.gguf")
    server, encoding = Server(tmp_path / "out.gguf"), minioss.load_tokenizer(folder)
    for text in (
        "hello world",
        "2 + 2 = 4",
        "  naïve 東京\r\n\n it's WE'LL 12345",
        "<|start|>user<|message|>Hi<|end|>",
    ):
        found = server.ask("/tokenize", content=text, add_special=False, parse_special=True)["tokens"]
        assert found == encoding.encode(text, allowed_special="all")
        assert server.ask("/detokenize", tokens=found)["content"] == text
