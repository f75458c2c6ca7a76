"""The clients of OpenAI and NVIDIA against a server that asks for a key: as each of them shows one, and without.

WEIRGATE_KEY is a key for all services.
"""

import numpy as np
import openai
import pytest
import tritonclient.grpc
import tritonclient.http
from conftest import given
from tritonclient.utils import InferenceServerException

MODEL = "identity-fp32"
ROW = np.array([[1.0, 2.0, 3.0]], np.float32)


@pytest.fixture(scope="module")
def key():
    return given("WEIRGATE_KEY", "a key that the server knows")


def infer(client, triton, headers=None):
    tensor = triton.InferInput("x", list(ROW.shape), "FP32").set_data_from_numpy(ROW)
    return client.infer(MODEL, [tensor], headers=headers).as_numpy("y")


def headers(key):
    return [{"authorization": f"Bearer {key}"}, {"x-api-key": key}]


def test_openais_client_shows_its_key(base_url, key):
    with openai.OpenAI(base_url=f"{base_url}/v1", api_key=key, max_retries=0, timeout=60) as client:
        assert MODEL in [model.id for model in client.models.list().data]
        # It came as far as its model, which has no text to give.
        with pytest.raises(openai.BadRequestError):
            client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "hello"}])


def test_openais_client_is_told_that_its_key_is_not_known(base_url, key):
    with openai.OpenAI(base_url=f"{base_url}/v1", api_key=f"{key}x", max_retries=0, timeout=60) as client:
        with pytest.raises(openai.AuthenticationError):
            client.models.list()
        with pytest.raises(openai.AuthenticationError) as raised:
            client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "hello"}])
        assert raised.value.type == "authentication_error" and key not in str(raised.value)


def test_tritons_http_client_shows_its_key(http_address, key):
    with tritonclient.http.InferenceServerClient(http_address) as client:
        for shown in headers(key):
            assert (infer(client, tritonclient.http, shown) == ROW).all()
        for shown in [None, *headers(f"{key}x")]:
            with pytest.raises(InferenceServerException) as raised:
                infer(client, tritonclient.http, shown)
            assert raised.value.status() == "401" and key not in raised.value.message()
        # Health is told to everybody.
        assert client.is_server_live() and client.is_server_ready()


def test_tritons_grpc_client_shows_its_key(grpc_address, key):
    with tritonclient.grpc.InferenceServerClient(grpc_address) as client:
        for shown in headers(key):
            assert (infer(client, tritonclient.grpc, shown) == ROW).all()
        for shown in [None, *headers(f"{key}x")]:
            with pytest.raises(InferenceServerException) as raised:
                infer(client, tritonclient.grpc, shown)
            assert raised.value.status() == "StatusCode.UNAUTHENTICATED" and key not in raised.value.message()
        assert client.is_server_live() and client.is_server_ready()
