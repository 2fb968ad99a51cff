"""vllm on a model folder: python run_vllm.py FOLDER TOKENS.json OUT.npz"""

import json
import sys
from pathlib import Path

import numpy as np
from vllm import LLM, SamplingParams
from vllm.inputs import TokensPrompt


def main():
    folder, tokens, out = sys.argv[1:]
    ids = json.loads(Path(tokens).read_text(encoding="utf-8"))
    vocab_size = json.loads(Path(folder, "config.json").read_text(encoding="utf-8"))["vocab_size"]
    model = LLM(
        folder,
        dtype="float32",
        skip_tokenizer_init=True,
        enforce_eager=True,
        max_logprobs=vocab_size,
        logprobs_mode="raw_logits",
        max_model_len=len(ids) + 1,
    )
    wanted = SamplingParams(max_tokens=1, logprobs=vocab_size, prompt_logprobs=vocab_size, detokenize=False)
    (answer,) = model.generate([TokensPrompt(prompt_token_ids=ids)], wanted)
    rows = [*answer.prompt_logprobs[1:], answer.outputs[0].logprobs[0]]
    logits = [[row[token].logprob for token in range(vocab_size)] for row in rows]
    np.savez(out, tokens=ids, logits=np.array(logits, np.float32))


if __name__ == "__main__":
    main()
