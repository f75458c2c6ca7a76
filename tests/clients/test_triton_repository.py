"""The model repository, as NVIDIA's clients ask it: the index, and loading and unloading by name."""

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException


@pytest.fixture(scope="module", params=["http", "grpc"])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def triton(kind):
    return {"http": triton_http, "grpc": triton_grpc}[kind]


@pytest.fixture(scope="module")
def client(triton, http_address):
    with triton.InferenceServerClient(http_address) as client:
        yield client


@pytest.fixture(scope="module")
def model(kind):
    """A model of its own for each client: it goes and comes back. It adds a number to x."""
    return {"http": ("add-1", 1), "grpc": ("add-2", 2)}[kind]


def index(kind, client):
    """The state of each model."""
    if kind == "http":
        return {entry["name"]: entry["state"] for entry in client.get_model_repository_index()}
    return {entry.name: entry.state for entry in client.get_model_repository_index().models}


def is_ready(client, name):
    try:
        return client.is_model_ready(name)
    except InferenceServerException:
        return False


def test_the_index_has_every_model(kind, client):
    states = index(kind, client)
    assert states["identity-fp32"] == states["digits"] == "READY"


def test_a_model_goes_and_comes_back(kind, triton, client, model, credentials):
    name, added = model
    client.unload_model(name, headers=credentials)
    assert not is_ready(client, name)
    assert index(kind, client)[name] == "UNAVAILABLE"
    x = np.ones((1, 2), np.float32)
    given = triton.InferInput("x", [1, 2], "FP32").set_data_from_numpy(x)
    with pytest.raises(InferenceServerException) as raised:
        client.infer(name, [given])
    assert raised.value.status() in ("503", "StatusCode.UNAVAILABLE")
    client.load_model(name, headers=credentials)
    assert is_ready(client, name)
    np.testing.assert_array_equal(client.infer(name, [given]).as_numpy("y"), x + added)


@pytest.mark.parametrize("verb", ["load_model", "unload_model"])
def test_without_the_token_nothing_changes(client, model, verb):
    with pytest.raises(InferenceServerException) as raised:
        getattr(client, verb)(model[0])
    assert raised.value.status() in ("401", "StatusCode.UNAUTHENTICATED")
    assert is_ready(client, model[0])


def test_an_unknown_model_is_not_found(client, credentials):
    with pytest.raises(InferenceServerException) as raised:
        client.load_model("no-such-service", headers=credentials)
    assert raised.value.status() in ("404", "StatusCode.NOT_FOUND")
    assert "no-such-service" in raised.value.message()
