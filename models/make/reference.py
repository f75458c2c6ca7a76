"""A language network's forward pass in plain numpy and double precision: what the Rust one is held against.

It shares nothing with it: tensors come dequantised from the package `gguf`, every sequence is computed whole, without a store
of keys and values, and every matrix is a matrix of doubles.
"""

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize

# Whether pairs of dimensions that turn together are halves of a head apart, or neighbours.
HALVES = {"llama": False, "qwen2": True, "qwen3": True}


class Reference:
    def __init__(self, path):
        reader = GGUFReader(path)
        self.tensors = {tensor.name: tensor for tensor in reader.tensors}
        self.values = {name: field.contents() for name, field in reader.fields.items()}
        self.architecture = self.values["general.architecture"]
        self.heads = self.key("attention.head_count")
        self.kv_heads = self.key("attention.head_count_kv", self.heads)
        self.head = self.key("attention.key_length", self.key("embedding_length") // self.heads)
        self.rotated = self.key("rope.dimension_count", self.head)
        self.epsilon = self.key("attention.layer_norm_rms_epsilon")

    def key(self, name, default=None):
        value = self.values.get(f"{self.architecture}.{name}", default)
        if value is None:
            raise KeyError(name)
        return value

    def tensor(self, name):
        """The tensor in doubles, outputs first, or None."""
        tensor = self.tensors.get(name)
        if tensor is None:
            return None
        return dequantize(tensor.data, tensor.tensor_type).astype(np.float64)

    def logits(self, sequences):
        """Token lists -> for each an array [tokens, vocabulary]: the logits after every token."""
        embedding = self.tensor("token_embd.weight")
        streams = [embedding[np.asarray(tokens)] for tokens in sequences]
        for layer in range(self.key("block_count")):
            self.layer(f"blk.{layer}", streams)
        output = self.tensor("output.weight")
        output = embedding if output is None else output
        norm = self.tensor("output_norm.weight")
        return [self.norm(stream, norm) @ output.T for stream in streams]

    def layer(self, name, streams):
        """Adds what a layer computes to the streams, in place."""
        weights = {}
        for part in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
            weights[part] = self.tensor(f"{name}.{part}.weight"), self.tensor(f"{name}.{part}.bias")
        norms = {part: self.tensor(f"{name}.{part}.weight") for part in ("attn_norm", "ffn_norm", "attn_q_norm", "attn_k_norm")}

        def apply(part, values):
            matrix, bias = weights[part]
            values = values @ matrix.T
            return values if bias is None else values + bias

        for stream in streams:
            values = self.norm(stream, norms["attn_norm"])
            query = apply("attn_q", values).reshape(-1, self.heads, self.head)
            key = apply("attn_k", values).reshape(-1, self.kv_heads, self.head)
            value = apply("attn_v", values).reshape(-1, self.kv_heads, self.head)
            if norms["attn_q_norm"] is not None:
                query = self.norm(query, norms["attn_q_norm"])
                key = self.norm(key, norms["attn_k_norm"])
            attended = self.attention(self.rotate(query), self.rotate(key), value)
            stream += apply("attn_output", attended)
            values = self.norm(stream, norms["ffn_norm"])
            gate = apply("ffn_gate", values)
            stream += apply("ffn_down", gate / (1 + np.exp(-gate)) * apply("ffn_up", values))

    def attention(self, query, key, value):
        tokens = len(query)
        group = self.heads // self.kv_heads
        key, value = np.repeat(key, group, axis=1), np.repeat(value, group, axis=1)
        scores = np.einsum("qhd,khd->hqk", query, key) / np.sqrt(self.head)
        scores[:, np.triu(np.ones((tokens, tokens), bool), 1)] = -np.inf
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        return np.einsum("hqk,khd->qhd", weights, value).reshape(tokens, -1)

    def rotate(self, heads):
        """[tokens, heads, head], the tokens at positions 0, 1, 2 and on."""
        pairs = np.arange(self.rotated // 2)
        speeds = self.key("rope.freq_base", 10000.0) ** (-2.0 * pairs / self.rotated)
        divisors = self.tensor("rope_freqs.weight")
        if divisors is not None:
            speeds = speeds / divisors
        if self.key("rope.scaling.type", "none") == "linear":
            speeds = speeds / self.key("rope.scaling.factor")
        angles = np.arange(len(heads))[:, None, None] * speeds
        if HALVES[self.architecture]:
            first, second = pairs, pairs + self.rotated // 2
        else:
            first, second = 2 * pairs, 2 * pairs + 1
        x, y = heads[..., first], heads[..., second]
        turned = heads.copy()
        turned[..., first] = x * np.cos(angles) - y * np.sin(angles)
        turned[..., second] = x * np.sin(angles) + y * np.cos(angles)
        return turned

    def norm(self, values, weights):
        return values / np.sqrt((values * values).mean(axis=-1, keepdims=True) + self.epsilon) * weights
