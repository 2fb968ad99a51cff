"""ibm-fms on a model folder: python run_ibm_fms.py FOLDER TOKENS.json OUT.npz

Its own reader of config.json refuses MXFP4 without another package, so the shape is handed over here.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from fms.models import get_model

NAMES = {
    "num_hidden_layers": "nlayers",
    "num_attention_heads": "nheads",
    "num_key_value_heads": "kvheads",
    "head_dim": "head_dim",
    "hidden_size": "emb_dim",
    "num_local_experts": "num_experts",
    "num_experts_per_tok": "top_k_experts",
    "vocab_size": "src_vocab_size",
    "sliding_window": "sliding_window",
    "layer_types": "layer_types",
    "rms_norm_eps": "norm_eps",
    "swiglu_limit": "swiglu_limit",
}

folder, tokens, out = sys.argv[1:]
config = json.loads(Path(folder, "config.json").read_text(encoding="utf-8"))
shape = {theirs: config[name] for name, theirs in NAMES.items()}
ids = json.loads(Path(tokens).read_text(encoding="utf-8"))
model = get_model("gpt_oss", "20b", model_path=folder, source="hf", data_type=torch.float32, **shape).eval()
with torch.no_grad():
    logits = model(torch.tensor([ids]))
np.savez(out, tokens=ids, logits=logits[0].numpy())
