"""Addresses of the server under test, which is started by whoever runs these suites.

WEIRGATE_HTTP, WEIRGATE_GRPC and WEIRGATE_ADMIN are host:port; the first two are usually the same port.
WEIRGATE_TOKEN is the control API's token. WEIRGATE_MINILM names the folder of the MiniLM model where the server serves it.
"""

import os
from pathlib import Path

import pytest


def given(variable, what):
    value = os.environ.get(variable)
    if not value:
        pytest.exit(f"{variable} is not set: give {what}", returncode=2)
    return value


def address(variable):
    return given(variable, "the server's address as host:port")


@pytest.fixture(scope="session")
def http_address():
    return address("WEIRGATE_HTTP")


@pytest.fixture(scope="session")
def grpc_address():
    return address("WEIRGATE_GRPC")


@pytest.fixture(scope="session")
def admin_address():
    return address("WEIRGATE_ADMIN")


@pytest.fixture(scope="session")
def base_url(http_address):
    return f"http://{http_address}"


@pytest.fixture(scope="session")
def credentials():
    """The header of whoever may load and unload models."""
    return {"authorization": "Bearer " + given("WEIRGATE_TOKEN", "the token of the server's state folder")}


@pytest.fixture(scope="session")
def minilm():
    """The folder of the MiniLM model, for the tests that compare with ONNX Runtime used directly."""
    folder = os.environ.get("WEIRGATE_MINILM")
    if not folder:
        pytest.skip("WEIRGATE_MINILM is not set: sentence embeddings are not tested")
    return Path(folder)
