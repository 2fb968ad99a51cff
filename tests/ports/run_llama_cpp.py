"""llama.cpp on a GGUF file: python run_llama_cpp.py FILE.gguf TOKENS.json OUT.npz

llama.cpp rounds activations to int8 where weights are MXFP4, which is more than most mistakes do. So
the file is first written anew with every number as float32, and all products are then in float32.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from gguf import GGUFReader, GGUFValueType, GGUFWriter, dequantize
from llama_cpp import Llama


def in_float32(source, out):
    """The same keys and numbers; tensors as float32."""
    reader = GGUFReader(source)
    writer = GGUFWriter(out, reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name not in ("general.architecture", "general.file_type"):
            inner = field.types[-1] if field.types[0] == GGUFValueType.ARRAY else None
            writer.add_key_value(name, field.contents(), field.types[0], sub_type=inner)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, dequantize(tensor.data, tensor.tensor_type))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


file, tokens, out = sys.argv[1:]
ids = json.loads(Path(tokens).read_text(encoding="utf-8"))
with tempfile.TemporaryDirectory() as folder:
    in_float32(file, f"{folder}/float32.gguf")
    options = {"type_k": 0, "type_v": 0}  # keys and values as float32 too
    model = Llama(f"{folder}/float32.gguf", n_ctx=len(ids), logits_all=True, verbose=False, **options)
    model.eval(ids)
    np.savez(out, tokens=ids, logits=model.scores[: len(ids)].astype(np.float32))
