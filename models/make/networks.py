#!/usr/bin/env python3
"""Makes models/tests/networks/: tiny language networks of random weights, and the logits that they give by numpy.

| file        | what is in it                                                                              |
|-------------|--------------------------------------------------------------------------------------------|
| llama       | neighbours are turned, grouped heads, an output matrix of its own                            |
| llama3      | speeds divided by `rope_freqs.weight`, heads wider than the stream has room for, tied output |
| linear      | positions divided by 4, half of a head turned                                              |
| qwen2       | halves are turned, biases                                                                  |
| qwen3       | halves are turned, norms of queries and keys                                               |
| types       | a matrix of each type: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K, F16, BF16, F32         |
| few_bits    | a matrix of Q3_K, IQ4_NL and IQ4_XS                                                        |

`blocks.gguf` has three rows of each type, of random bits, and as NAME.f32 the numbers that they stand for.

Beside each other NAME.gguf lies NAME.json: `tokens`, and `logits`, those after every token. The results are kept in the repository,
so this needs to run only to change them:

    python3 -m venv build/train && build/train/bin/pip install -r scripts/requirements-networks.txt
    build/train/bin/python models/make/networks.py
"""

import json
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGUFWriter
from gguf import GGMLQuantizationType as Type
from gguf.quants import dequantize, quantize
from reference import Reference

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "networks"
VOCABULARY = 64
TOKENS = 40

# What package `gguf` doesn't quantise to is made of random bits. Type -> bytes of a block, where its scale is, where its
# minimum is, and what the scale is for weights of about 1.
RANDOM_BLOCKS = {
    Type.Q4_K: (144, 0, 2, 1 / 150),
    Type.Q5_K: (176, 0, 2, 1 / 300),
    Type.Q6_K: (210, 208, None, 1 / 1400),
    Type.Q3_K: (110, 108, None, 1 / 40),
    Type.IQ4_XS: (136, 0, None, 1 / 1200),
    Type.IQ4_NL: (18, 0, None, 1 / 70),
}
# The least times the scale that make weights of about 0 on the whole: half of the greatest quant.
MIDDLE = {Type.Q4_K: 7.5, Type.Q5_K: 15.5}


class Network:
    def __init__(self, name, architecture, width, heads, kv_heads, head, feed_forward, layers=2, seed=1, **keys):
        self.random = np.random.default_rng(seed)
        self.path = FOLDER / f"{name}.gguf"
        self.writer = GGUFWriter(self.path, architecture)
        self.width, self.queries, self.keys = width, heads * head, kv_heads * head
        self.head, self.feed_forward, self.layers = head, feed_forward, layers
        writer = self.writer
        writer.add_context_length(128)
        writer.add_embedding_length(width)
        writer.add_block_count(layers)
        writer.add_feed_forward_length(feed_forward)
        writer.add_head_count(heads)
        writer.add_head_count_kv(kv_heads)
        writer.add_key_length(head)
        writer.add_value_length(head)
        writer.add_layer_norm_rms_eps(1e-5)
        for key, value in keys.items():
            add = writer.add_string if isinstance(value, str) else writer.add_float32 if isinstance(value, float) else writer.add_uint32
            add(f"{architecture}.rope.{key.replace('__', '.')}", value)

    def add(self, name, outputs, inputs, kind=Type.F16, scale=None):
        scale = scale or inputs**-0.5
        if kind in RANDOM_BLOCKS:
            weights = self.random_blocks(kind, outputs, inputs, scale)
        else:
            weights = quantize(self.random.normal(0, scale, (outputs, inputs)).astype(np.float32), kind)
        self.writer.add_tensor(name, weights, raw_dtype=kind)

    def random_blocks(self, kind, outputs, inputs, scale):
        size, scale_at, minimum_at, unit = RANDOM_BLOCKS[kind]
        count = outputs * inputs // GGML_QUANT_SIZES[kind][0]
        blocks = self.random.integers(0, 256, (count, size), dtype=np.uint8)
        scales = (self.random.uniform(0.5, 1.5, len(blocks)) * unit * scale).astype(np.float16)
        blocks[:, scale_at : scale_at + 2] = scales.view(np.uint8).reshape(-1, 2)
        if minimum_at is not None:
            minima = (scales * MIDDLE[kind]).astype(np.float16)
            blocks[:, minimum_at : minimum_at + 2] = minima.view(np.uint8).reshape(-1, 2)
        return blocks.reshape(outputs, -1)

    def vector(self, name, length, middle=1.0, spread=0.2):
        self.writer.add_tensor(name, self.random.normal(middle, spread, length).astype(np.float32))

    def common(self, kinds=None, output=False):
        """All tensors that every network has. `kinds` gives types by tensor, F16 is the default."""
        kinds = kinds or {}

        def matrix(name, outputs, inputs, scale=None):
            self.add(f"{name}.weight", outputs, inputs, kinds.get(name, Type.F16), scale)

        matrix("token_embd", VOCABULARY, self.width, 1.0)
        for layer in range(self.layers):
            name = f"blk.{layer}"
            self.vector(f"{name}.attn_norm.weight", self.width)
            matrix(f"{name}.attn_q", self.queries, self.width)
            matrix(f"{name}.attn_k", self.keys, self.width)
            matrix(f"{name}.attn_v", self.keys, self.width)
            matrix(f"{name}.attn_output", self.width, self.queries)
            self.vector(f"{name}.ffn_norm.weight", self.width)
            matrix(f"{name}.ffn_gate", self.feed_forward, self.width)
            matrix(f"{name}.ffn_up", self.feed_forward, self.width)
            matrix(f"{name}.ffn_down", self.width, self.feed_forward)
        self.vector("output_norm.weight", self.width)
        if output:
            matrix("output", VOCABULARY, self.width)

    def save(self):
        tokens = [int(token) for token in self.random.integers(0, VOCABULARY, TOKENS)]
        writer = self.writer
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        (logits,) = Reference(self.path).logits([tokens])
        rows = ",\n".join(json.dumps([float(f"{logit:.7g}") for logit in row], separators=(",", ":")) for row in logits)
        self.path.with_suffix(".json").write_text(f'{{"tokens":{json.dumps(tokens)},\n"logits":[\n{rows}\n]}}\n')
        print(f"{self.path} ({self.path.stat().st_size / 1e3:.0f} KB), logits of {logits.std():.2f} by {np.abs(logits).max():.2f}")


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)

    network = Network("llama", "llama", 64, 4, 2, 16, 96, seed=1, freq_base=10000.0, dimension_count=16)
    network.common(output=True)
    network.save()

    network = Network("llama3", "llama", 32, 6, 2, 32, 64, seed=2, freq_base=500000.0, dimension_count=32)
    network.common()
    network.writer.add_tensor("rope_freqs.weight", np.geomspace(1, 8, 16).astype(np.float32))
    network.save()

    network = Network(
        "linear", "llama", 32, 2, 1, 32, 64, seed=3, dimension_count=16, scaling__type="linear", scaling__factor=4.0
    )
    network.common()
    network.save()

    network = Network("qwen2", "qwen2", 64, 4, 2, 16, 96, seed=4, freq_base=1000000.0)
    network.common()
    for layer in range(network.layers):
        for part, length in (("q", network.queries), ("k", network.keys), ("v", network.keys)):
            network.vector(f"blk.{layer}.attn_{part}.bias", length, 0.0, 0.5)
    network.save()

    network = Network("qwen3", "qwen3", 64, 4, 2, 32, 96, seed=5, freq_base=1000000.0)
    network.common()
    for layer in range(network.layers):
        for part in ("q", "k"):
            network.vector(f"blk.{layer}.attn_{part}_norm.weight", network.head)
    network.save()

    network = Network("types", "llama", 256, 2, 1, 32, 256, seed=6, freq_base=10000.0, dimension_count=32)
    kinds = {
        "token_embd": Type.Q8_0,
        "blk.0.attn_q": Type.Q4_0,
        "blk.0.attn_k": Type.Q4_1,
        "blk.0.attn_v": Type.Q5_0,
        "blk.0.attn_output": Type.Q5_1,
        "blk.0.ffn_gate": Type.Q4_K,
        "blk.0.ffn_up": Type.Q5_K,
        "blk.0.ffn_down": Type.Q6_K,
        "blk.1.attn_q": Type.F16,
        "blk.1.attn_k": Type.BF16,
        "blk.1.attn_v": Type.F32,
        "blk.1.attn_output": Type.Q4_0,
        "blk.1.ffn_gate": Type.Q6_K,
        "blk.1.ffn_up": Type.Q4_K,
        "blk.1.ffn_down": Type.Q8_0,
        "output": Type.Q6_K,
    }
    network.common(kinds, output=True)
    network.save()

    network = Network("few_bits", "llama", 256, 2, 1, 32, 256, layers=1, seed=7, freq_base=10000.0, dimension_count=32)
    kinds = {
        "token_embd": Type.IQ4_NL,
        "blk.0.attn_q": Type.Q3_K,
        "blk.0.attn_k": Type.IQ4_XS,
        "blk.0.attn_v": Type.IQ4_NL,
        "blk.0.attn_output": Type.IQ4_NL,
        "blk.0.ffn_gate": Type.IQ4_XS,
        "blk.0.ffn_up": Type.Q3_K,
        "blk.0.ffn_down": Type.IQ4_XS,
    }
    network.common(kinds)
    network.save()
    blocks()


def blocks():
    """Three rows of 256 of each type."""
    random = np.random.default_rng(8)
    path = FOLDER / "blocks.gguf"
    writer = GGUFWriter(path, "none")
    scales = {Type.Q4_0: 1, Type.Q4_1: 2, Type.Q5_0: 1, Type.Q5_1: 2, Type.Q8_0: 1, Type.Q4_K: 2, Type.Q5_K: 2, Type.IQ4_NL: 1, Type.IQ4_XS: 1}
    for kind in (*scales, Type.Q3_K, Type.Q6_K, Type.F32, Type.F16, Type.BF16):
        block, size = GGML_QUANT_SIZES[kind]
        count = 3 * 256 // block
        if block == 1:
            rows = quantize(random.normal(0, 1, (3, 256)).astype(np.float32), kind).view(np.uint8)
        else:
            rows = random.integers(0, 256, (count, size), dtype=np.uint8)
            # The scales come first in a block, or are all that is last.
            at, numbers = (0, scales[kind]) if kind in scales else (size - 2, 1)
            rows[:, at : at + 2 * numbers] = random.uniform(-0.1, 0.1, (count, numbers)).astype(np.float16).view(np.uint8)
        rows = rows.reshape(3, -1)
        writer.add_tensor(kind.name, rows, raw_dtype=kind)
        writer.add_tensor(f"{kind.name}.f32", dequantize(rows, kind).astype(np.float32).reshape(3, 256))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
