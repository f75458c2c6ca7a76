"""KServe's clients, without its servers.

The package's own __init__ imports a model server, with a process manager and a Kubernetes client. What is imported here is
the package's code all the same, below a package that is empty besides.
"""

import asyncio
import importlib.util
import sys
import types

WAIT = 60


def _bare(name):
    spec = importlib.util.find_spec(name)
    package = types.ModuleType(name)
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules[name] = package


_bare("kserve")

from kserve.inference_client import InferenceGRPCClient, InferenceRESTClient, RESTConfig  # noqa: E402, F401
from kserve.protocol.infer_type import InferInput, InferRequest, RequestedOutput  # noqa: E402, F401


def tensor(name, datatype, array, binary=True):
    given = InferInput(name=name, shape=list(array.shape), datatype=datatype)
    given.set_data_from_numpy(array, binary_data=binary)
    return given


def run(client, use):
    """Runs `use` with the client that `client` makes: it belongs to the loop in which it was made."""

    async def with_client():
        async with client() as made:
            return await asyncio.wait_for(use(made), WAIT)

    return asyncio.run(with_client())
