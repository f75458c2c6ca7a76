"""Asks the digits classifier and the MiniLM sentence embedder in every protocol: the answers must be right, and alike."""

import gzip
import json
import queue
import urllib.request

import embed
import numpy as np
import tritonclient.grpc
import tritonclient.http
from calls import Caller, json_body, outputs_of, read_samples
from tell import check, headline


def triton_digits(client_module, address, images):
    given = client_module.InferInput("X", list(images.shape), "FP32").set_data_from_numpy(images)
    with client_module.InferenceServerClient(address) as client:
        return client.infer("digits", [given]).as_numpy("label")


def v1_digits(address, images):
    """KServe's V1, compressed."""
    body = gzip.compress(json.dumps({"instances": images.tolist()}).encode())
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    request = urllib.request.Request(f"http://{address}/v1/models/digits:predict", body, headers)
    with urllib.request.urlopen(request, timeout=60) as response:
        return np.array([row["label"] for row in json.load(response)["predictions"]])


def streamed_digits(address, images):
    """One call for each image, over one stream."""
    answers = queue.Queue()
    with tritonclient.grpc.InferenceServerClient(address) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        for image in images:
            given = tritonclient.grpc.InferInput("X", [1, len(image)], "FP32").set_data_from_numpy(image[None])
            client.async_stream_infer("digits", [given])
        results = [answers.get(timeout=60) for _ in images]
        client.stop_stream()
    failed = [error for _, error in results if error is not None]
    check(not failed, f"a call of the stream failed: {failed[:1]}")
    return np.concatenate([result.as_numpy("label") for result, _ in results])


def list_models(address):
    """What OpenAI's clients list."""
    with urllib.request.urlopen(f"http://{address}/openai/v1/models", timeout=60) as response:
        return [model["id"] for model in json.load(response)["data"]]


def picture(pixels):
    shades = " .:-=+*#%@"
    rows = [pixels[start : start + 8] for start in range(0, 64, 8)]
    return ["".join(shades[min(int(pixel) * len(shades) // 17, len(shades) - 1)] * 2 for pixel in row) for row in rows]


def ask_digits(address):
    headline("digits: 20 held-out images of handwriting")
    images, wanted = read_samples()
    with Caller(address, "digits") as caller:
        outputs = outputs_of(caller.call(json_body({"X": images}, ["label", "probabilities"]))[0])
    labels, probabilities = outputs["label"], outputs["probabilities"]

    shown = [4, 10, 15]
    for line in zip(*(picture(images[index]) for index in shown)):
        print("    " + "    ".join(line))
    print("    " + "    ".join(f"{labels[index]} ({probabilities[index].max():.0%})".ljust(16) for index in shown))

    answers = {
        "http json": labels,
        "http binary": triton_digits(tritonclient.http, address, images),
        "grpc": triton_digits(tritonclient.grpc, address, images),
        "grpc stream": streamed_digits(address, images),
        "v1, gzip": v1_digits(address, images),
    }
    for protocol, got in answers.items():
        right = int((got == wanted).sum())
        print(f"  {protocol:<12} {right} of {len(wanted)} right")
        check(right >= 18, f"digits over {protocol}: only {right} of {len(wanted)} images were read right")
        check((got == labels).all(), f"digits over {protocol}: other labels than over http json")
    models = list_models(address)
    print(f"  OpenAI's clients list {', '.join(models)}")
    check(models == ["digits", "minilm", "smollm2"], f"the list of models is {models}")


def ask_minilm(address):
    headline("minilm: how near sentences are in meaning (cosine)")
    tokenizer = embed.load_tokenizer()
    answers = {
        protocol: np.array(embed.embed(address, embed.SENTENCES, protocol, tokenizer=tokenizer))
        for protocol in embed.PROTOCOLS
    }
    first = answers[embed.PROTOCOLS[0]]
    print(embed.table(embed.SENTENCES, first))
    for protocol, got in answers.items():
        drift = float(np.abs(got - first).max())
        check(drift <= 1e-5, f"minilm over {protocol}: differs by {drift:.1e} from {embed.PROTOCOLS[0]}")
    print(f"  the same over {', '.join(answers)}")
    cosine = first @ first.T
    like, unlike = min(cosine[0, 1], cosine[2, 3]), cosine[:2, 2:].max()
    check(like > unlike, f"minilm: like sentences are at {like:.2f}, unlike ones at {unlike:.2f}")
    return tokenizer
