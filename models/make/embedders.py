#!/usr/bin/env python3
"""Makes what models/tests/embed compares with: texts, their tokens by Hugging Face's tokenizers, and their vectors.

| file          | what it holds                                                                                        |
|---------------|------------------------------------------------------------------------------------------------------|
| minilm.json   | tokens and vectors of build/models/all-minilm-l6-v2: onnxruntime, each text alone, no padding          |
| tiny          | an embedder of random weights, with a vocabulary cut to the texts: safetensors, and ONNX without pooling |
| tiny.json     | its tokens, and the vectors of its tokens' mean, first, greatest and last ones: numpy, in 64 bits       |

Vectors are 32-bit floats, little-endian, in base64. Run `make setup-models` first, and this with build/venv/bin/python.
"""

import base64
import json
import math
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from graph import MODELS
from minilm import INPUTS, build
from texts import TEXTS
from tokenizers import Tokenizer

OUT = Path(__file__).resolve().parent.parent / "tests" / "embed"
LONG = "The river rose after two days of rain, and the weir gate was lowered by a hand's breadth. "
MORE = [
    "A man is eating food.",
    "A man is eating a piece of bread, and drinks a glass of water with it.",
    "query: how do I split traffic between two models?",
    "[CLS] [SEP] a[MASK]b [PAD][UNK] [mask] [ SEP ]",
    "x" * 100 + " " + "x" * 101 + " " + "é" * 100 + " " + "漢" * 101,
    LONG * 8,
    LONG * 40,
    "混ぜて mixed 文字列 with English и русским " * 12,
]


def encoded(vectors):
    return base64.b64encode(np.ascontiguousarray(vectors, "<f4").tobytes()).decode()


def write(name, **content):
    rows = {key: value for key, value in content.items() if isinstance(value, list)}
    lines = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in content.items() if key not in rows]
    for key, value in rows.items():
        lines.append(f" {json.dumps(key)}: [\n" + ",\n".join("  " + json.dumps(row) for row in value) + "\n ]")
    path = OUT / f"{name}.json"
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{name}: {path.stat().st_size / 1e3:.0f} kB")


def tokens(tokenizer, text, limit):
    """Tokens as they are cut, and how many there are in all."""
    tokenizer.no_padding()
    tokenizer.no_truncation()
    whole = len(tokenizer.encode(text).ids)
    tokenizer.enable_truncation(limit)
    return tokenizer.encode(text).ids, whole


def minilm(texts):
    folder = MODELS / "all-minilm-l6-v2"
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    limit = json.loads((folder / "sentence_bert_config.json").read_text())["max_seq_length"]
    session = onnxruntime.InferenceSession(folder / "onnx" / "model.onnx", providers=["CPUExecutionProvider"])
    cases = []
    for text in texts:
        ids, whole = tokens(tokenizer, text, limit)
        feed = dict(zip(INPUTS, (np.array([row], np.int64) for row in (ids, [1] * len(ids), [0] * len(ids)))))
        cases.append({"text": text, "ids": ids, "whole": whole, "vector": encoded(session.run(None, feed)[0][0])})
    write("minilm", max_tokens=limit, cases=cases)


CONFIG = {
    "architectures": ["BertModel"],
    "model_type": "bert",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "hidden_act": "gelu",
    "max_position_embeddings": 80,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
    "position_embedding_type": "absolute",
}
LIMIT = 72


def random_weights(config, generator):
    """Tensors by their names in transformers, scaled so that no layer forgets what came in."""
    width, inner = config["hidden_size"], config["intermediate_size"]

    def normal(*shape, scale):
        return (generator.standard_normal(shape) * scale).astype(np.float32)

    weights = {}

    def dense(name, outputs, inputs):
        weights[f"{name}.weight"] = normal(outputs, inputs, scale=inputs**-0.5)
        weights[f"{name}.bias"] = normal(outputs, scale=0.3)

    def norm(name):
        weights[f"{name}.weight"] = 1 + normal(width, scale=0.2)
        weights[f"{name}.bias"] = normal(width, scale=0.2)

    sizes = {"word": config["vocab_size"], "position": config["max_position_embeddings"], "token_type": 2}
    for name, size in sizes.items():
        weights[f"embeddings.{name}_embeddings.weight"] = normal(size, width, scale=0.5)
    norm("embeddings.LayerNorm")
    for index in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{index}"
        for part in ("query", "key", "value"):
            dense(f"{layer}.attention.self.{part}", width, width)
        dense(f"{layer}.attention.output.dense", width, width)
        norm(f"{layer}.attention.output.LayerNorm")
        dense(f"{layer}.intermediate.dense", inner, width)
        dense(f"{layer}.output.dense", width, inner)
        norm(f"{layer}.output.LayerNorm")
    dense("pooler.dense", width, width)
    return weights


def forward(config, weights, ids):
    """The vectors of the tokens, in 64 bits."""
    width, heads = config["hidden_size"], config["num_attention_heads"]
    size = width // heads

    def weight(name):
        return weights[name].astype(np.float64)

    def dense(x, name):
        return x @ weight(f"{name}.weight").T + weight(f"{name}.bias")

    def norm(x, name):
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x * x).mean(-1, keepdims=True) + config["layer_norm_eps"])
        return x * weight(f"{name}.weight") + weight(f"{name}.bias")

    def gelu(x):
        return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))

    x = weight("embeddings.word_embeddings.weight")[ids]
    x = x + weight("embeddings.position_embeddings.weight")[: len(ids)] + weight("embeddings.token_type_embeddings.weight")[0]
    x = norm(x, "embeddings.LayerNorm")
    for index in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{index}"
        parts = (dense(x, f"{layer}.attention.self.{part}").reshape(-1, heads, size) for part in ("query", "key", "value"))
        query, key, val = (part.transpose(1, 0, 2) for part in parts)
        scores = query @ key.transpose(0, 2, 1) / math.sqrt(size)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        scores /= scores.sum(-1, keepdims=True)
        context = (scores @ val).transpose(1, 0, 2).reshape(-1, width)
        x = norm(dense(context, f"{layer}.attention.output.dense") + x, f"{layer}.attention.output.LayerNorm")
        inner = gelu(dense(x, f"{layer}.intermediate.dense"))
        x = norm(dense(inner, f"{layer}.output.dense") + x, f"{layer}.output.LayerNorm")
    return x


def write_safetensors(path, weights):
    table, data = {}, b""
    for name, array in weights.items():
        begin = len(data)
        data += np.ascontiguousarray(array, "<f4").tobytes()
        table[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [begin, len(data)]}
    header = json.dumps(table, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)


def cut_vocabulary(source, texts):
    """The tokenizer with the tokens that the texts have, numbered anew, and the special ones."""
    tokenizer = Tokenizer.from_file(str(source))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    used = {id for text in texts for id in tokenizer.encode(text).ids}
    content = json.loads(source.read_text())
    special = {token["content"] for token in content["added_tokens"]}
    by_id = {id: token for token, id in content["model"]["vocab"].items()}
    kept = sorted(special, key=content["model"]["vocab"].get) + [by_id[id] for id in sorted(used) if by_id[id] not in special]
    new = {token: index for index, token in enumerate(kept)}
    content["model"]["vocab"] = new
    for token in content["added_tokens"]:
        token["id"] = new[token["content"]]
    for token in content["post_processor"]["special_tokens"].values():
        token["ids"] = [new[name] for name in token["tokens"]]
    content["truncation"] = content["padding"] = None
    return content


def tiny(texts):
    folder = OUT / "tiny"
    (folder / "1_Pooling").mkdir(parents=True, exist_ok=True)
    source = MODELS / "all-minilm-l6-v2"
    # With fewer tokens, words that are there in pieces elsewhere are unknown here; that is a case too.
    texts = [text for text in texts if len(text) < 900]
    content = cut_vocabulary(source / "tokenizer.json", texts)
    (folder / "tokenizer.json").write_text(json.dumps(content, ensure_ascii=True, separators=(",", ":")) + "\n")
    config = {**CONFIG, "vocab_size": len(content["model"]["vocab"])}
    files = {
        "config.json": config,
        "sentence_bert_config.json": {"max_seq_length": LIMIT, "do_lower_case": False},
        "modules.json": json.loads((source / "modules.json").read_text()),
        "1_Pooling/config.json": {"word_embedding_dimension": config["hidden_size"], "pooling_mode_mean_tokens": True},
    }
    for name, value in files.items():
        (folder / name).write_text(json.dumps(value, indent=1) + "\n")
    weights = random_weights(config, np.random.default_rng(7))
    write_safetensors(folder / "model.safetensors", weights)
    build(config, weights, folder / "onnx", pooled=False)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    cases = []
    for text in texts:
        ids, whole = tokens(tokenizer, text, LIMIT)
        x = forward(config, weights, ids)
        pooled = np.stack([x.mean(0), x[0], x.max(0), x[-1]])
        cases.append({"text": text, "ids": ids, "whole": whole, "vectors": encoded(pooled)})
    write("tiny", max_tokens=LIMIT, cases=cases)


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    texts = TEXTS + MORE
    if len(set(texts)) != len(texts):
        sys.exit("embedders: a text is there twice")
    minilm(texts)
    tiny(texts)


if __name__ == "__main__":
    main()
