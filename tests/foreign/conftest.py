"""The address of a gateway that serves other people's servers; whoever runs these suites has started it.

WEIRGATE_HTTP is host:port, for every protocol. Each suite is a process of its own: the clients' protocol buffers bear the same
names.
"""

import os

import pytest


@pytest.fixture(scope="session")
def address():
    address = os.environ.get("WEIRGATE_HTTP")
    if not address:
        pytest.exit("WEIRGATE_HTTP is not set: give the gateway's address as host:port", returncode=2)
    return address


@pytest.fixture(scope="session")
def base_url(address):
    return f"http://{address}"
