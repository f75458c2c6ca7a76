"""Calls over HTTP, and the images that they carry."""

import http.client
import json

import numpy as np
from paths import ROOT
from tell import DemoError


def read_samples():
    """The held-out images of handwritten digits, as rows of pixels, and what they show."""
    samples = json.loads((ROOT / "models" / "zoo" / "digits" / "samples.json").read_text())
    return np.array([sample["pixels"] for sample in samples], np.float32), [sample["label"] for sample in samples]


def json_body(inputs, outputs):
    """A V2 request as JSON, from name -> array."""
    datatypes = {"float32": "FP32", "int64": "INT64"}
    return json.dumps(
        {
            "inputs": [
                {
                    "name": name,
                    "datatype": datatypes[str(array.dtype)],
                    "shape": array.shape,
                    "data": array.ravel().tolist(),
                }
                for name, array in inputs.items()
            ],
            "outputs": [{"name": name} for name in outputs],
        }
    ).encode()


def outputs_of(answer):
    """Name -> array, from a V2 answer as JSON."""
    outputs = json.loads(answer)["outputs"]
    return {output["name"]: np.array(output["data"]).reshape(output["shape"]) for output in outputs}


class Caller:
    """One kept-alive HTTP connection that asks one model."""

    def __init__(self, address, model, below=""):
        self.connection = http.client.HTTPConnection(address, timeout=60)
        self.path = f"{below}/v2/models/{model}/infer"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def call(self, body, **headers):
        """The answer's bytes, and its headers. Headers to send are given with _ for -."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request("POST", self.path, body, {"content-type": "application/json", **headers})
        response = self.connection.getresponse()
        answer = response.read()
        if response.status != 200:
            raise DemoError(f"{self.path} answered {response.status}: {answer.decode(errors='replace')}")
        return answer, response.headers
