"""The V2 protocol over gRPC, as NVIDIA's client speaks it, and with messages made by hand where it can't."""

import queue
import threading

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from common import (
    BF16,
    NOT_UTF8,
    ROWS,
    SENTENCES,
    WITH_NUL,
    Embedder,
    assert_digits,
    assert_same,
    digit_samples,
    names_input,
    service,
)
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

DATATYPES = sorted(ROWS)
CALLERS = 64
WAIT = 60

INVALID = "StatusCode.INVALID_ARGUMENT"

# The field of InferTensorContents that carries each datatype; FP16 has none.
CONTENTS = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


@pytest.fixture(scope="module")
def client(grpc_address):
    with triton.InferenceServerClient(grpc_address) as client:
        yield client


@pytest.fixture(scope="module")
def channel(grpc_address):
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(grpc_address, options) as channel:
        yield channel


@pytest.fixture(scope="module")
def stub(channel):
    return service_pb2_grpc.GRPCInferenceServiceStub(channel)


def tensor(name, datatype, array):
    return triton.InferInput(name, list(array.shape), datatype).set_data_from_numpy(array)


def echo(client, datatype, array, **options):
    return client.infer(service(datatype), [tensor("x", datatype, array)], **options)


def two_io_inputs(rows=2):
    a = np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)
    b = np.full((rows, 3), 0.5, np.float32)
    ids = np.arange(100, 100 + rows, dtype=np.int64).reshape(rows, 1)
    return a, b, ids, [tensor("b", "FP32", b), tensor("id", "INT64", ids), tensor("a", "FP32", a)]


def refused(status, call, *arguments, **options):
    """The text of the refusal, which must come with this status."""
    with pytest.raises(InferenceServerException) as raised:
        call(*arguments, **options)
    assert raised.value.status() == status, raised.value
    assert raised.value.message()
    return raised.value.message()


def refused_raw(code, call, *arguments):
    """The same for a call through the bare stub."""
    with pytest.raises(grpc.RpcError) as raised:
        call(*arguments, timeout=WAIT)
    assert raised.value.code() == code, raised.value
    assert raised.value.details()
    return raised.value.details()


class Concurrent:
    """Calls in flight together; answers are taken in the order of sending."""

    def __init__(self, client):
        self.client = client
        self.waiting = []

    def send(self, *arguments, **options):
        answer = queue.Queue(1)
        self.client.async_infer(*arguments, callback=lambda result, error: answer.put((result, error)), **options)
        self.waiting.append(answer)

    def answers(self):
        return [answer.get(timeout=WAIT) for answer in self.waiting]


def typed_request(datatype, array, model=None):
    """A request whose data is in the typed field of its datatype."""
    request = service_pb2.ModelInferRequest(model_name=model or service(datatype), id="typed")
    item = request.inputs.add(name="x", datatype=datatype, shape=array.shape)
    values = [value.encode() if isinstance(value, str) else value for value in array.ravel().tolist()]
    getattr(item.contents, CONTENTS[datatype]).extend(values)
    return request


def raw_request(model="identity-fp32", datatype="FP32", shape=(1, 2), raw=(b"\0" * 8,)):
    request = service_pb2.ModelInferRequest(model_name=model)
    request.inputs.add(name="x", datatype=datatype, shape=shape)
    request.raw_input_contents.extend(raw)
    return request


# Health and metadata


def test_server_is_live_and_ready(client):
    assert client.is_server_live()
    assert client.is_server_ready()


def test_server_metadata(client):
    metadata = client.get_server_metadata()
    assert metadata.name == "weirgate"
    assert metadata.version


def test_model_readiness(client):
    assert client.is_model_ready("identity-fp32")
    try:
        assert not client.is_model_ready("no-such-service")
    except InferenceServerException as error:
        assert error.status() == "StatusCode.NOT_FOUND"


@pytest.mark.parametrize("datatype", DATATYPES)
def test_model_metadata(client, datatype):
    metadata = client.get_model_metadata(service(datatype))
    assert metadata.name == service(datatype)
    assert metadata.platform == "onnxruntime_onnx"
    for tensors, name in ((metadata.inputs, "x"), (metadata.outputs, "y")):
        (told,) = tensors
        assert (told.name, told.datatype, list(told.shape)) == (name, datatype, [-1, -1])


def test_metadata_of_an_unknown_service(client):
    message = refused("StatusCode.NOT_FOUND", client.get_model_metadata, "no-such-service")
    assert "no-such-service" in message


def test_the_standard_health_service(channel):
    health = health_pb2_grpc.HealthStub(channel)
    answer = health.Check(health_pb2.HealthCheckRequest(), timeout=WAIT)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    refused_raw(grpc.StatusCode.NOT_FOUND, health.Check, health_pb2.HealthCheckRequest(service="no.such.Service"))


def test_health_of_one_service(channel):
    request = health_pb2.HealthCheckRequest(service="identity-fp32")
    answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=WAIT)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


# Every datatype, raw and typed


@pytest.mark.parametrize("datatype", DATATYPES)
def test_raw_rows_come_back_as_they_were_sent(client, datatype):
    assert_same(datatype, ROWS[datatype], echo(client, datatype, ROWS[datatype]).as_numpy("y"))


@pytest.mark.parametrize("datatype", DATATYPES)
def test_one_row(client, datatype):
    row = ROWS[datatype][:1]
    assert_same(datatype, row, echo(client, datatype, row).as_numpy("y"))


@pytest.mark.parametrize("datatype", sorted(CONTENTS))
def test_typed_rows_come_back_typed(stub, datatype):
    rows = ROWS[datatype]
    answer = stub.ModelInfer(typed_request(datatype, rows), timeout=WAIT)
    assert answer.id == "typed"
    assert not answer.raw_output_contents
    (output,) = answer.outputs
    assert (output.name, output.datatype, tuple(output.shape)) == ("y", datatype, rows.shape)
    fields = {field.name for field, _ in output.contents.ListFields()}
    assert fields == {CONTENTS[datatype]}
    values = list(getattr(output.contents, CONTENTS[datatype]))
    dtype = object if datatype == "BYTES" else rows.dtype
    assert_same(datatype, rows, np.array(values, dtype).reshape(rows.shape))


@pytest.mark.parametrize("datatype", sorted(CONTENTS))
def test_every_raw_answer_is_raw(stub, datatype):
    rows = ROWS[datatype]
    if datatype == "BYTES":
        items = [value.encode() for value in rows.ravel()]
        data = b"".join(len(item).to_bytes(4, "little") + item for item in items)
    else:
        data = rows.tobytes()
    answer = stub.ModelInfer(raw_request(service(datatype), datatype, rows.shape, [data]), timeout=WAIT)
    assert list(answer.raw_output_contents) == [data]
    assert not answer.outputs[0].HasField("contents")


def test_bf16_rows_come_back_as_they_were_sent(client):
    assert_same("BF16", BF16, echo(client, "BF16", BF16).as_numpy("y"))


def test_nan_and_infinity_pass(client, stub):
    rows = np.array([[np.nan, np.inf, -np.inf]], np.float32)
    assert_same("FP32", rows, echo(client, "FP32", rows).as_numpy("y"))
    answer = stub.ModelInfer(typed_request("FP32", rows), timeout=WAIT)
    np.testing.assert_array_equal(answer.outputs[0].contents.fp32_contents, rows[0])


def test_text_that_is_not_utf8_is_refused_by_name(client):
    assert names_input(refused(INVALID, echo, client, "BYTES", NOT_UTF8))


def test_text_with_a_nul_is_whole_or_refused(client):
    try:
        got = echo(client, "BYTES", WITH_NUL).as_numpy("y")
    except InferenceServerException as error:
        assert error.status() == INVALID
        assert names_input(error.message()), error.message()
    else:
        assert_same("BYTES", WITH_NUL, got)


# Ids, outputs


def test_request_id_is_echoed(client):
    assert echo(client, "FP32", ROWS["FP32"], request_id="call-7 ü").get_response().id == "call-7 ü"


def test_without_outputs_named_every_output_comes(client):
    a, b, ids, inputs = two_io_inputs()
    result = client.infer("two-io", inputs)
    np.testing.assert_array_equal(result.as_numpy("sum"), a + b)
    np.testing.assert_array_equal(result.as_numpy("diff"), a - b)
    np.testing.assert_array_equal(result.as_numpy("echo"), ids)


def test_outputs_come_in_the_order_asked(client):
    a, b, ids, inputs = two_io_inputs()
    outputs = [triton.InferRequestedOutput(name) for name in ("echo", "sum")]
    result = client.infer("two-io", inputs, outputs=outputs)
    assert [output.name for output in result.get_response().outputs] == ["echo", "sum"]
    np.testing.assert_array_equal(result.as_numpy("echo"), ids)
    np.testing.assert_array_equal(result.as_numpy("sum"), a + b)


# Calls over a stream


class Stream:
    """A client with a stream open, and its answers in the order they came."""

    def __init__(self, grpc_address):
        self.client = triton.InferenceServerClient(grpc_address)
        self.answers = queue.Queue()

    def __enter__(self):
        self.client.start_stream(callback=lambda result, error: self.answers.put((result, error)))
        return self

    def __exit__(self, *_):
        self.client.stop_stream(cancel_requests=True)
        self.client.close()

    def send(self, model, datatype, array, **options):
        self.client.async_stream_infer(model, [tensor("x", datatype, array)], **options)

    def answer(self):
        return self.answers.get(timeout=WAIT)


def test_a_stream_answers_every_call(grpc_address):
    with Stream(grpc_address) as stream:
        for number in range(CALLERS):
            rows = np.full((1 + number % 3, 5), number, np.float32)
            stream.send("identity-fp32", "FP32", rows, request_id=str(number))
        seen = set()
        for _ in range(CALLERS):
            result, error = stream.answer()
            assert error is None, error
            number = int(result.get_response().id)
            seen.add(number)
            assert_same("FP32", np.full((1 + number % 3, 5), number, np.float32), result.as_numpy("y"))
        assert seen == set(range(CALLERS))


@pytest.mark.parametrize("datatype", ["FP16", "BYTES"])
def test_a_stream_carries_raw_rows(grpc_address, datatype):
    with Stream(grpc_address) as stream:
        stream.send(service(datatype), datatype, ROWS[datatype])
        result, error = stream.answer()
        assert error is None, error
        assert_same(datatype, ROWS[datatype], result.as_numpy("y"))


def test_a_wrong_call_on_a_stream_fails_alone(grpc_address):
    with Stream(grpc_address) as stream:
        stream.send("no-such-service", "FP32", ROWS["FP32"], request_id="bad")
        result, error = stream.answer()
        assert result is None
        assert "no-such-service" in error.message()
        stream.send("identity-fp32", "FP32", ROWS["FP32"], request_id="good")
        result, error = stream.answer()
        assert error is None, error
        assert result.get_response().id == "good"


# Statistics and configuration


def test_statistics_count_the_calls(client):
    def counts():
        (statistics,) = client.get_inference_statistics("identity-int16").model_stats
        assert statistics.name == "identity-int16"
        return statistics.inference_count, statistics.inference_stats.success.count

    rows, calls = counts()
    echo(client, "INT16", ROWS["INT16"])
    rows_after, calls_after = counts()
    # Other suites may use the model at the same time.
    assert rows_after >= rows + len(ROWS["INT16"])
    assert calls_after >= calls + 1


def test_model_configuration(client):
    config = client.get_model_config("two-io").config
    assert config.name == "two-io"
    assert [(tensor.name, list(tensor.dims)) for tensor in config.input] == [("a", [3]), ("b", [3]), ("id", [1])]
    assert [tensor.name for tensor in config.output] == ["sum", "diff", "echo"]


def test_configuration_of_an_unknown_service(client):
    refused("StatusCode.NOT_FOUND", client.get_model_config, "no-such-service")


def test_shared_memory_is_refused_and_says_what_to_do(client):
    message = refused("StatusCode.UNIMPLEMENTED", client.get_system_shared_memory_status)
    assert "not supported" in message


# Wrong calls


def test_unknown_service_is_not_found(client):
    inputs = [tensor("x", "FP32", ROWS["FP32"])]
    assert "no-such-service" in refused("StatusCode.NOT_FOUND", client.infer, "no-such-service", inputs)


def test_wrong_shapes_are_refused(client):
    for shape in ([-1, 3], [2, 4], [2**62, 2**62], [6]):
        given = tensor("x", "FP32", ROWS["FP32"]).set_shape(shape)
        assert names_input(refused(INVALID, client.infer, "identity-fp32", [given])), shape


def test_shape_the_model_does_not_take_is_refused(client):
    wide = np.zeros((1, 4), np.float32)
    inputs = [tensor("a", "FP32", wide), tensor("b", "FP32", wide), tensor("id", "INT64", np.zeros((1, 1), np.int64))]
    assert "'a'" in refused(INVALID, client.infer, "two-io", inputs)


def test_rows_that_disagree_are_refused(client):
    inputs = [
        tensor("a", "FP32", np.zeros((2, 3), np.float32)),
        tensor("b", "FP32", np.zeros((3, 3), np.float32)),
        tensor("id", "INT64", np.zeros((2, 1), np.int64)),
    ]
    assert "'b'" in refused(INVALID, client.infer, "two-io", inputs)


def test_wrong_datatype_is_refused(client):
    message = refused(INVALID, client.infer, "identity-fp32", [tensor("x", "INT64", ROWS["INT64"])])
    assert names_input(message) and "FP32" in message


def test_unknown_missing_and_repeated_inputs_are_refused(client):
    rows = ROWS["FP32"]
    assert "'z'" in refused(INVALID, client.infer, "identity-fp32", [tensor("z", "FP32", rows)])
    assert "'b'" in refused(INVALID, client.infer, "two-io", [tensor("a", "FP32", rows)])
    assert "'x'" in refused(INVALID, client.infer, "identity-fp32", [tensor("x", "FP32", rows)] * 2)


def test_unknown_output_is_refused(client):
    inputs = [tensor("x", "FP32", ROWS["FP32"])]
    message = refused(INVALID, client.infer, "identity-fp32", inputs, outputs=[triton.InferRequestedOutput("nope")])
    assert "'nope'" in message


def test_raw_and_typed_data_together_are_refused(stub):
    request = raw_request()
    request.inputs[0].contents.fp32_contents.extend([1, 2])
    refused_raw(grpc.StatusCode.INVALID_ARGUMENT, stub.ModelInfer, request)


def test_raw_data_must_be_as_many_as_the_inputs(stub):
    refused_raw(grpc.StatusCode.INVALID_ARGUMENT, stub.ModelInfer, raw_request(raw=[b"\0" * 8, b"\0" * 8]))


def test_typed_data_in_the_wrong_field_is_refused(stub):
    request = service_pb2.ModelInferRequest(model_name="identity-fp32")
    request.inputs.add(name="x", datatype="FP32", shape=[1, 2]).contents.int_contents.extend([1, 2])
    assert names_input(refused_raw(grpc.StatusCode.INVALID_ARGUMENT, stub.ModelInfer, request))


def test_a_typed_number_that_does_not_fit_is_refused(stub):
    request = service_pb2.ModelInferRequest(model_name="identity-uint8")
    request.inputs.add(name="x", datatype="UINT8", shape=[1, 1]).contents.uint_contents.append(256)
    assert names_input(refused_raw(grpc.StatusCode.INVALID_ARGUMENT, stub.ModelInfer, request))


def test_a_call_without_inputs_is_refused(stub):
    request = service_pb2.ModelInferRequest(model_name="identity-fp32")
    refused_raw(grpc.StatusCode.INVALID_ARGUMENT, stub.ModelInfer, request)


def test_a_wrong_call_fails_alone(client):
    """Good and bad ids in flight together: the model refuses the bad ones' values, and nobody else notices."""
    calls, sent = Concurrent(client), []
    for number in range(32):
        bad = number % 4 == 3
        ids = np.array([[number % 10, 99 if bad else 1]], np.int64)
        sent.append((bad, ids))
        calls.send("picky", [tensor("ids", "INT64", ids)])
    for (bad, ids), (result, error) in zip(sent, calls.answers()):
        if bad:
            assert error is not None and error.status() == INVALID, error
        else:
            assert error is None, error
            np.testing.assert_array_equal(result.as_numpy("y"), ids * 10.0)


# Size, concurrency, time


def test_8_mib_both_ways(client):
    rows = np.random.default_rng(1).random((8, 262_144), np.float32)
    assert rows.nbytes == 8 << 20
    assert_same("FP32", rows, echo(client, "FP32", rows).as_numpy("y"))


def test_a_large_typed_tensor_both_ways(stub):
    rows = np.random.default_rng(2).random((4, 50_000), np.float32)
    answer = stub.ModelInfer(typed_request("FP32", rows), timeout=WAIT)
    got = np.array(answer.outputs[0].contents.fp32_contents, np.float32).reshape(rows.shape)
    assert_same("FP32", rows, got)


def test_concurrent_callers_get_their_own_rows(client):
    calls, sent = Concurrent(client), []
    for number in range(CALLERS):
        rows = np.full((1 + number % 3, 5), number, np.float32)
        sent.append(rows)
        calls.send("identity-fp32", [tensor("x", "FP32", rows)], request_id=str(number))
    for number, (rows, (result, error)) in enumerate(zip(sent, calls.answers())):
        assert error is None, error
        assert result.get_response().id == str(number)
        assert_same("FP32", rows, result.as_numpy("y"))


def test_concurrent_callers_of_several_outputs_get_their_own_rows(client):
    calls, sent = Concurrent(client), []
    for number in range(CALLERS):
        rows = 1 + number % 4
        a = np.full((rows, 3), number, np.float32)
        ids = np.arange(number * 10, number * 10 + rows, dtype=np.int64).reshape(rows, 1)
        sent.append((a, ids))
        calls.send("two-io", [tensor("a", "FP32", a), tensor("b", "FP32", a), tensor("id", "INT64", ids)])
    for (a, ids), (result, error) in zip(sent, calls.answers()):
        assert error is None, error
        np.testing.assert_array_equal(result.as_numpy("echo"), ids)
        np.testing.assert_array_equal(result.as_numpy("sum"), a + a)


def test_a_deadline_is_kept_and_the_service_answers_afterwards(client):
    inputs = [tensor("x", "FP32", ROWS["FP32"])]
    refused("StatusCode.DEADLINE_EXCEEDED", client.infer, "slow", inputs, client_timeout=0.05)
    assert_same("FP32", ROWS["FP32"], client.infer("slow", inputs).as_numpy("y"))


def test_a_cancelled_call_does_no_harm(client):
    inputs = [tensor("x", "FP32", ROWS["FP32"])]
    ended = threading.Event()
    call = client.async_infer("slow", inputs, callback=lambda result, error: ended.set())
    call.cancel()
    assert ended.wait(WAIT)
    assert_same("FP32", ROWS["FP32"], client.infer("slow", inputs).as_numpy("y"))


# Real models


def test_digits(client):
    images, labels = digit_samples()
    result = client.infer("digits", [tensor("X", "FP32", images)])
    assert_digits(labels, result.as_numpy("label"), result.as_numpy("probabilities"))


def test_minilm_equals_onnxruntime(client, minilm):
    embedder = Embedder(minilm)
    inputs = [tensor(name, "INT64", array) for name, array in embedder.inputs(SENTENCES).items()]
    got = client.infer("minilm", inputs).as_numpy("sentence_embedding")
    np.testing.assert_allclose(got, embedder.embed(SENTENCES), atol=1e-5)


def test_minilm_equals_onnxruntime_for_concurrent_callers(client, minilm):
    embedder = Embedder(minilm)
    calls, sent = Concurrent(client), []
    for number in range(32):
        sentence = SENTENCES[number % len(SENTENCES)]
        sent.append(sentence)
        calls.send("minilm", [tensor(name, "INT64", array) for name, array in embedder.inputs([sentence]).items()])
    wanted = {sentence: embedder.embed([sentence]) for sentence in SENTENCES}
    for sentence, (result, error) in zip(sent, calls.answers()):
        assert error is None, error
        np.testing.assert_allclose(result.as_numpy("sentence_embedding"), wanted[sentence], atol=1e-5)
