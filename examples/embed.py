#!/usr/bin/env python3
"""From text to tensor and back: embeds sentences with the `minilm` service and shows how near they are to each other.

    weirgate serve -f examples/minilm.yaml
    build/venv/bin/python examples/embed.py "a cat sleeps" "a kitten naps" "rates went up"

The tokenizer runs here, the model runs there. --protocol http-json needs nothing but the standard library for the call;
http-binary and grpc go through tritonclient.
"""

import argparse
import json
import sys
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOKENIZER = ROOT / "build" / "models" / "minilm" / "tokenizer.json"
PROTOCOLS = ("http-json", "http-binary", "grpc")
OUTPUT = "sentence_embedding"
# The model was trained on texts of up to this many tokens.
MAX_TOKENS = 256

SENTENCES = [
    "The dam holds the river back.",
    "A weir controls the flow of water.",
    "The stock market fell sharply today.",
    "Shares lost much of their value.",
]


class CallError(Exception):
    """The server's own text, or why it could not be reached."""


def load_tokenizer(path=TOKENIZER):
    from tokenizers import Tokenizer

    if not Path(path).exists():
        raise CallError(f"no tokenizer at {path}: run `make setup`, or name one with --tokenizer")
    tokenizer = Tokenizer.from_file(str(path))
    # The file asks for a fixed length of 128. Padding to the longest sentence of the call is less work.
    tokenizer.no_padding()
    tokenizer.enable_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    return tokenizer


def tensors(tokenizer, sentences):
    """Input name -> one row of token numbers for each sentence."""
    encoded = tokenizer.encode_batch(sentences)
    return {
        "input_ids": [one.ids for one in encoded],
        "attention_mask": [one.attention_mask for one in encoded],
        "token_type_ids": [one.type_ids for one in encoded],
    }


def call_http_json(address, model, inputs):
    """The V2 protocol by hand: one POST with the tensors as JSON."""
    body = {
        "inputs": [
            {"name": name, "datatype": "INT64", "shape": [len(rows), len(rows[0])], "data": rows}
            for name, rows in inputs.items()
        ],
        "outputs": [{"name": OUTPUT}],
    }
    request = urllib.request.Request(
        f"http://{address}/v2/models/{model}/infer",
        data=json.dumps(body).encode(),
        headers={"content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)
    except urllib.error.HTTPError as error:
        raise CallError(f"the server answered {error.code}: {error.read().decode(errors='replace')}") from None
    except OSError as error:
        raise CallError(f"no answer from {address} ({error}): start weirgate serve -f examples/minilm.yaml") from None
    (output,) = answer["outputs"]
    width = output["shape"][1]
    return [output["data"][start : start + width] for start in range(0, len(output["data"]), width)]


def call_triton(client_module, address, model, inputs):
    """The same call through tritonclient: binary tensors over HTTP, or raw tensors over gRPC."""
    import numpy as np
    from tritonclient.utils import InferenceServerException

    given = []
    for name, rows in inputs.items():
        array = np.array(rows, np.int64)
        given.append(client_module.InferInput(name, list(array.shape), "INT64").set_data_from_numpy(array))
    client = client_module.InferenceServerClient(address)
    try:
        result = client.infer(model, given, outputs=[client_module.InferRequestedOutput(OUTPUT)])
    except InferenceServerException as error:
        raise CallError(f"the server answered {error.status()}: {error.message()}") from None
    except OSError as error:
        raise CallError(f"no answer from {address} ({error}): start weirgate serve -f examples/minilm.yaml") from None
    finally:
        client.close()
    return result.as_numpy(OUTPUT).tolist()


def embed(address, sentences, protocol="http-json", model="minilm", tokenizer=None):
    """One embedding, a list of 384 numbers of length 1, for each sentence."""
    inputs = tensors(tokenizer or load_tokenizer(), sentences)
    if protocol == "http-json":
        return call_http_json(address, model, inputs)
    if protocol == "http-binary":
        import tritonclient.http as client_module
    else:
        import tritonclient.grpc as client_module
    return call_triton(client_module, address, model, inputs)


def similarity(left, right):
    """The cosine; the embeddings' length is 1 already."""
    return sum(a * b for a, b in zip(left, right))


def table(sentences, embeddings):
    """Each sentence with its similarity to every one of them."""
    width = max(len(sentence) for sentence in sentences)
    lines = [" " * (width + 4) + "".join(f"{number:>7}" for number in range(1, len(sentences) + 1))]
    for number, (sentence, own) in enumerate(zip(sentences, embeddings), 1):
        cells = "".join(f"{similarity(own, other):7.2f}" for other in embeddings)
        lines.append(f"{number:>2}  {sentence:<{width}}{cells}")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description="embed sentences with weirgate and compare them")
    parser.add_argument("sentences", nargs="*", default=SENTENCES, help="at least two (default: four examples)")
    parser.add_argument("--address", default="127.0.0.1:8080", help="the server's data port (default: %(default)s)")
    parser.add_argument("--model", default="minilm", help="the service's name (default: %(default)s)")
    parser.add_argument("--protocol", choices=PROTOCOLS, default="http-json", help="(default: %(default)s)")
    parser.add_argument("--tokenizer", type=Path, default=TOKENIZER, help="the tokenizer.json to use")
    arguments = parser.parse_args()
    if len(arguments.sentences) < 2:
        parser.error("give at least two sentences to compare")
    try:
        tokenizer = load_tokenizer(arguments.tokenizer)
        embeddings = embed(
            arguments.address, arguments.sentences, arguments.protocol, arguments.model, tokenizer
        )
    except ModuleNotFoundError as error:
        sys.exit(f"embed: the package {error.name} is missing: run this with build/venv/bin/python")
    except CallError as error:
        sys.exit(f"embed: {error}")
    print(table(arguments.sentences, embeddings))


if __name__ == "__main__":
    main()
