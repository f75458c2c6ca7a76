"""The V2 protocol as NVIDIA's asynchronous clients speak it, over HTTP and gRPC."""

import asyncio

import numpy as np
import pytest
import tritonclient.grpc.aio as triton_grpc
import tritonclient.http.aio as triton_http
from common import BF16, ROWS, assert_same, names_input, service
from tritonclient.utils import InferenceServerException

CALLERS = 64
WAIT = 60


@pytest.fixture(params=[triton_http, triton_grpc], ids=["http", "grpc"])
def triton(request):
    return request.param


def run(triton, address, use):
    """Runs `use` with a client; clients belong to the loop in which they were made."""

    async def with_client():
        async with triton.InferenceServerClient(address) as client:
            return await asyncio.wait_for(use(client), WAIT)

    return asyncio.run(with_client())


def tensor(triton, datatype, array):
    given = triton.InferInput("x", list(array.shape), datatype)
    given.set_data_from_numpy(array)
    return given


def test_health(triton, http_address):
    async def use(client):
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready("identity-fp32")

    run(triton, http_address, use)


@pytest.mark.parametrize("datatype", sorted(ROWS))
def test_rows_come_back_as_they_were_sent(triton, http_address, datatype):
    async def use(client):
        return await client.infer(service(datatype), [tensor(triton, datatype, ROWS[datatype])])

    assert_same(datatype, ROWS[datatype], run(triton, http_address, use).as_numpy("y"))


def test_bf16_rows_come_back_as_they_were_sent(triton, http_address):
    async def use(client):
        # The client reads BF16 from binary answers only.
        outputs = [triton.InferRequestedOutput("y")]
        return await client.infer("identity-bf16", [tensor(triton, "BF16", BF16)], outputs=outputs)

    assert_same("BF16", BF16, run(triton, http_address, use).as_numpy("y"))


def test_concurrent_callers_get_their_own_rows(triton, http_address):
    sent = [np.full((1 + number % 3, 5), number, np.float32) for number in range(CALLERS)]

    async def use(client):
        calls = [client.infer("identity-fp32", [tensor(triton, "FP32", rows)]) for rows in sent]
        return await asyncio.gather(*calls)

    for rows, result in zip(sent, run(triton, http_address, use)):
        assert_same("FP32", rows, result.as_numpy("y"))


@pytest.mark.parametrize("model, shape", [("no-such-service", [2, 3]), ("identity-fp32", [2, 4])])
def test_wrong_calls_are_refused(triton, http_address, model, shape):
    given = tensor(triton, "FP32", ROWS["FP32"])
    given.set_shape(shape)
    with pytest.raises(InferenceServerException) as raised:
        run(triton, http_address, lambda client: client.infer(model, [given]))
    message = raised.value.message()
    assert model in message or names_input(message), message


def test_a_stream_answers_every_call(http_address):
    async def calls():
        for number in range(CALLERS):
            rows = np.full((1, 5), number, np.float32)
            yield {
                "model_name": "identity-fp32",
                "inputs": [tensor(triton_grpc, "FP32", rows)],
                "request_id": str(number),
            }

    async def use(client):
        seen = set()
        async for result, error in client.stream_infer(calls()):
            assert error is None, error
            number = int(result.get_response().id)
            assert_same("FP32", np.full((1, 5), number, np.float32), result.as_numpy("y"))
            seen.add(number)
        return seen

    assert run(triton_grpc, http_address, use) == set(range(CALLERS))


def test_a_wrong_call_on_a_stream_fails_alone(http_address):
    async def calls():
        for model in ("no-such-service", "identity-fp32"):
            yield {"model_name": model, "inputs": [tensor(triton_grpc, "FP32", ROWS["FP32"])]}

    async def use(client):
        return [answer async for answer in client.stream_infer(calls())]

    answers = run(triton_grpc, http_address, use)
    errors = [error.message() for _, error in answers if error is not None]
    results = [result for result, error in answers if error is None]
    assert len(errors) == 1 and "no-such-service" in errors[0]
    assert len(results) == 1
    assert_same("FP32", ROWS["FP32"], results[0].as_numpy("y"))
