"""The V2 protocol over HTTP, as NVIDIA's client speaks it: JSON and the binary tensor extension, both ways."""

import gzip
import http.client
import json
import urllib.request

import numpy as np
import pytest
import tritonclient.http as triton
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
from tritonclient.utils import InferenceServerException

DATATYPES = sorted(ROWS)
CALLERS = 64


@pytest.fixture(scope="module")
def client(http_address):
    with triton.InferenceServerClient(http_address, concurrency=CALLERS) as client:
        yield client


def tensor(name, datatype, array, binary=True):
    return triton.InferInput(name, list(array.shape), datatype).set_data_from_numpy(array, binary_data=binary)


def echo(client, datatype, array, binary_in=True, binary_out=True, **options):
    outputs = [triton.InferRequestedOutput("y", binary_data=binary_out)]
    inputs = [tensor("x", datatype, array, binary_in)]
    return client.infer(service(datatype), inputs, outputs=outputs, **options)


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


def post(address, path, body, headers=None):
    connection = http.client.HTTPConnection(address, timeout=30)
    try:
        connection.request("POST", path, body, headers or {"content-type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read(), response.headers
    finally:
        connection.close()


# Health and metadata


def test_server_is_live_and_ready(client):
    assert client.is_server_live()
    assert client.is_server_ready()


def test_server_metadata(client):
    metadata = client.get_server_metadata()
    assert metadata["name"] == "weirgate"
    assert metadata["version"]
    assert "binary_tensor_data" in metadata["extensions"]


def test_model_readiness(client):
    assert client.is_model_ready("identity-fp32")
    assert not client.is_model_ready("no-such-service")


@pytest.mark.parametrize("datatype", DATATYPES)
def test_model_metadata(client, datatype):
    metadata = client.get_model_metadata(service(datatype))
    assert metadata["name"] == service(datatype)
    assert metadata["platform"] == "onnxruntime_onnx"
    assert metadata["inputs"] == [{"name": "x", "datatype": datatype, "shape": [-1, -1]}]
    assert metadata["outputs"] == [{"name": "y", "datatype": datatype, "shape": [-1, -1]}]


def test_fixed_dimensions_are_told(client):
    assert client.get_model_metadata("fixed")["inputs"][0]["shape"] == [2, 3]
    assert client.get_model_metadata("two-io")["inputs"][0]["shape"] == [-1, 3]


# Every datatype, both forms, both ways


@pytest.mark.parametrize("binary_out", [True, False], ids=["binary-out", "json-out"])
@pytest.mark.parametrize("binary_in", [True, False], ids=["binary-in", "json-in"])
@pytest.mark.parametrize("datatype", DATATYPES)
def test_rows_come_back_as_they_were_sent(client, datatype, binary_in, binary_out):
    result = echo(client, datatype, ROWS[datatype], binary_in, binary_out)
    assert_same(datatype, ROWS[datatype], result.as_numpy("y"))
    has_size = "binary_data_size" in result.get_output("y").get("parameters", {})
    assert has_size == binary_out


@pytest.mark.parametrize("datatype", DATATYPES)
def test_one_row(client, datatype):
    row = ROWS[datatype][:1]
    assert_same(datatype, row, echo(client, datatype, row).as_numpy("y"))


def test_bf16_rows_come_back_as_they_were_sent(client):
    assert_same("BF16", BF16, echo(client, "BF16", BF16).as_numpy("y"))


def test_bf16_in_json_is_written_as_numbers(http_address):
    body = {"inputs": [{"name": "x", "datatype": "BF16", "shape": [1, 2], "data": [1.5, -2]}]}
    status, answer, _ = post(http_address, "/v2/models/identity-bf16/infer", json.dumps(body))
    assert status == 200, answer
    assert json.loads(answer)["outputs"][0]["data"] == [1.5, -2]


def test_without_outputs_named_every_output_comes(client):
    a, b, ids, inputs = two_io_inputs()
    result = client.infer("two-io", inputs)
    np.testing.assert_array_equal(result.as_numpy("sum"), a + b)
    np.testing.assert_array_equal(result.as_numpy("diff"), a - b)
    np.testing.assert_array_equal(result.as_numpy("echo"), ids)


def test_nan_and_infinity_pass_in_binary(client):
    rows = np.array([[np.nan, np.inf, -np.inf]], np.float32)
    assert_same("FP32", rows, echo(client, "FP32", rows).as_numpy("y"))


def test_json_data_may_be_nested(http_address):
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [[1, 2], [3, 4.5]]}]}
    status, answer, _ = post(http_address, "/v2/models/identity-fp32/infer", json.dumps(body))
    assert status == 200, answer
    (output,) = json.loads(answer)["outputs"]
    assert output["shape"] == [2, 2]
    assert np.array(output["data"]).ravel().tolist() == [1, 2, 3, 4.5]


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_text_that_is_not_utf8_is_refused_by_name(http_address, client, binary):
    if binary:
        message = refused("400", echo, client, "BYTES", NOT_UTF8)
    else:
        body = b'{"inputs":[{"name":"x","datatype":"BYTES","shape":[1,1],"data":["\xff\xfe"]}]}'
        status, answer, _ = post(http_address, "/v2/models/identity-bytes/infer", body)
        assert status == 400, answer
        message = json.loads(answer)["error"]
    assert names_input(message), message


def test_text_with_a_nul_is_whole_or_refused(client):
    try:
        got = echo(client, "BYTES", WITH_NUL).as_numpy("y")
    except InferenceServerException as error:
        assert error.status() == "400"
        assert names_input(error.message()), error.message()
    else:
        assert_same("BYTES", WITH_NUL, got)


# Ids, outputs


def test_request_id_is_echoed(client):
    assert echo(client, "FP32", ROWS["FP32"], request_id="call-7 ü").get_response()["id"] == "call-7 ü"


def test_one_output_of_several(client):
    a, b, _, inputs = two_io_inputs()
    result = client.infer("two-io", inputs, outputs=[triton.InferRequestedOutput("diff")])
    assert [output["name"] for output in result.get_response()["outputs"]] == ["diff"]
    np.testing.assert_array_equal(result.as_numpy("diff"), a - b)


def test_outputs_come_in_the_order_asked_and_each_in_its_form(client):
    a, b, ids, inputs = two_io_inputs()
    outputs = [
        triton.InferRequestedOutput("echo", binary_data=True),
        triton.InferRequestedOutput("sum", binary_data=False),
        triton.InferRequestedOutput("diff", binary_data=True),
    ]
    result = client.infer("two-io", inputs, outputs=outputs)
    assert [output["name"] for output in result.get_response()["outputs"]] == ["echo", "sum", "diff"]
    assert "data" in result.get_output("sum")
    assert "data" not in result.get_output("echo")
    np.testing.assert_array_equal(result.as_numpy("echo"), ids)
    np.testing.assert_array_equal(result.as_numpy("sum"), a + b)
    np.testing.assert_array_equal(result.as_numpy("diff"), a - b)


# Statistics and configuration


def test_statistics_count_the_calls(client):
    def counts():
        (statistics,) = client.get_inference_statistics("identity-int8")["model_stats"]
        assert statistics["name"] == "identity-int8"
        return statistics["inference_count"], statistics["inference_stats"]["success"]["count"]

    rows, calls = counts()
    echo(client, "INT8", ROWS["INT8"])
    rows_after, calls_after = counts()
    # Other suites may use the model at the same time.
    assert rows_after >= rows + len(ROWS["INT8"])
    assert calls_after >= calls + 1


def test_statistics_of_all_models(client):
    names = {statistics["name"] for statistics in client.get_inference_statistics()["model_stats"]}
    assert {"identity-fp32", "two-io", "digits"} <= names


def test_statistics_of_an_unknown_model(client):
    assert "no-such-service" in refused("404", client.get_inference_statistics, "no-such-service")


def test_model_configuration(client):
    config = client.get_model_config("two-io")
    assert config["name"] == "two-io"
    assert config["max_batch_size"] >= 1
    # A model that batches leaves the batch out of its dimensions.
    assert config["input"] == [
        {"name": "a", "data_type": "TYPE_FP32", "dims": [3]},
        {"name": "b", "data_type": "TYPE_FP32", "dims": [3]},
        {"name": "id", "data_type": "TYPE_INT64", "dims": [1]},
    ]
    assert [output["name"] for output in config["output"]] == ["sum", "diff", "echo"]


def test_shared_memory_is_refused_and_says_what_to_do(client):
    message = refused("501", client.get_system_shared_memory_status)
    assert "not supported" in message


# Wrong calls


def test_unknown_service_is_404(client):
    message = refused("404", client.infer, "no-such-service", [tensor("x", "FP32", ROWS["FP32"])])
    assert "no-such-service" in message


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_negative_shape_is_refused(client, binary):
    given = tensor("x", "FP32", ROWS["FP32"], binary).set_shape([-1, 3])
    assert names_input(refused("400", client.infer, "identity-fp32", [given]))


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_shape_that_does_not_match_the_data_is_refused(client, binary):
    given = tensor("x", "FP32", ROWS["FP32"], binary).set_shape([2, 4])
    assert names_input(refused("400", client.infer, "identity-fp32", [given]))


def test_shape_too_large_to_count_is_refused(client):
    given = tensor("x", "FP32", ROWS["FP32"]).set_shape([2**62, 2**62])
    assert names_input(refused("400", client.infer, "identity-fp32", [given]))


def test_shape_the_model_does_not_take_is_refused(client):
    wide = np.zeros((1, 4), np.float32)
    inputs = [tensor("a", "FP32", wide), tensor("b", "FP32", wide), tensor("id", "INT64", np.zeros((1, 1), np.int64))]
    assert "'a'" in refused("400", client.infer, "two-io", inputs)


def test_wrong_number_of_dimensions_is_refused(client):
    assert names_input(refused("400", client.infer, "identity-fp32", [tensor("x", "FP32", np.zeros(3, np.float32))]))


def test_rows_that_disagree_are_refused(client):
    inputs = [
        tensor("a", "FP32", np.zeros((2, 3), np.float32)),
        tensor("b", "FP32", np.zeros((3, 3), np.float32)),
        tensor("id", "INT64", np.zeros((2, 1), np.int64)),
    ]
    assert "'b'" in refused("400", client.infer, "two-io", inputs)


def test_wrong_datatype_is_refused(client):
    message = refused("400", client.infer, "identity-fp32", [tensor("x", "INT64", ROWS["INT64"])])
    assert names_input(message) and "FP32" in message


def test_unknown_missing_and_repeated_inputs_are_refused(client):
    rows = ROWS["FP32"]
    assert "'z'" in refused("400", client.infer, "identity-fp32", [tensor("z", "FP32", rows)])
    assert "'b'" in refused("400", client.infer, "two-io", [tensor("a", "FP32", rows)])
    assert "'x'" in refused("400", client.infer, "identity-fp32", [tensor("x", "FP32", rows)] * 2)


def test_unknown_output_is_refused(client):
    inputs = [tensor("x", "FP32", ROWS["FP32"])]
    message = refused("400", client.infer, "identity-fp32", inputs, outputs=[triton.InferRequestedOutput("nope")])
    assert "'nope'" in message


def test_body_that_is_no_json_is_refused(http_address):
    status, answer, _ = post(http_address, "/v2/models/identity-fp32/infer", b"{nonsense")
    assert status == 400
    assert json.loads(answer)["error"]


def test_a_number_that_does_not_fit_is_refused(http_address):
    body = '{"inputs":[{"name":"x","datatype":"UINT8","shape":[1,1],"data":[256]}]}'
    status, answer, _ = post(http_address, "/v2/models/identity-uint8/infer", body)
    assert status == 400, answer
    message = json.loads(answer)["error"]
    assert names_input(message) and "256" in message


def test_a_wrong_call_fails_alone(client):
    """Good and bad ids in flight together: the model refuses the bad ones' values, and nobody else notices."""
    calls = []
    for number in range(32):
        bad = number % 4 == 3
        ids = np.array([[number % 10, 99 if bad else 1]], np.int64)
        calls.append((bad, ids, client.async_infer("picky", [tensor("ids", "INT64", ids)])))
    for bad, ids, call in calls:
        if bad:
            refused("400", call.get_result)
        else:
            np.testing.assert_array_equal(call.get_result().as_numpy("y"), ids * 10.0)


# Size, concurrency, time


def test_8_mib_both_ways(client):
    rows = np.random.default_rng(1).random((8, 262_144), np.float32)
    assert rows.nbytes == 8 << 20
    assert_same("FP32", rows, echo(client, "FP32", rows).as_numpy("y"))


def test_a_large_json_tensor_both_ways(client):
    rows = np.random.default_rng(2).random((4, 50_000), np.float32)
    assert_same("FP32", rows, echo(client, "FP32", rows, binary_in=False, binary_out=False).as_numpy("y"))


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_concurrent_callers_get_their_own_rows(client, binary):
    calls = []
    for number in range(CALLERS):
        rows = np.full((1 + number % 3, 5), number, np.float32)
        outputs = [triton.InferRequestedOutput("y", binary_data=binary)]
        inputs = [tensor("x", "FP32", rows, binary)]
        calls.append((rows, client.async_infer("identity-fp32", inputs, outputs=outputs, request_id=str(number))))
    for number, (rows, call) in enumerate(calls):
        result = call.get_result()
        assert result.get_response()["id"] == str(number)
        assert_same("FP32", rows, result.as_numpy("y"))


def test_concurrent_callers_of_several_outputs_get_their_own_rows(client):
    calls = []
    for number in range(CALLERS):
        rows = 1 + number % 4
        a = np.full((rows, 3), number, np.float32)
        ids = np.arange(number * 10, number * 10 + rows, dtype=np.int64).reshape(rows, 1)
        inputs = [tensor("a", "FP32", a), tensor("b", "FP32", a), tensor("id", "INT64", ids)]
        calls.append((a, ids, client.async_infer("two-io", inputs)))
    for a, ids, call in calls:
        result = call.get_result()
        np.testing.assert_array_equal(result.as_numpy("echo"), ids)
        np.testing.assert_array_equal(result.as_numpy("sum"), a + a)


def test_a_deadline_in_the_header_is_kept(client):
    inputs = [tensor("x", "FP32", ROWS["FP32"])]
    refused("504", client.infer, "slow-second", inputs, headers={"x-request-timeout-seconds": "0.05"})


def test_a_caller_that_gives_up_does_no_harm(http_address, client):
    inputs = [tensor("x", "FP32", ROWS["FP32"])]
    with triton.InferenceServerClient(http_address, network_timeout=0.05) as hasty, pytest.raises(Exception):
        hasty.infer("slow", inputs)
    assert_same("FP32", ROWS["FP32"], client.infer("slow", inputs).as_numpy("y"))


# Real models


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_digits(client, binary):
    images, labels = digit_samples()
    outputs = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("label", "probabilities")]
    result = client.infer("digits", [tensor("X", "FP32", images, binary)], outputs=outputs)
    assert_digits(labels, result.as_numpy("label"), result.as_numpy("probabilities"))


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_minilm_equals_onnxruntime(client, minilm, binary):
    embedder = Embedder(minilm)
    inputs = [tensor(name, "INT64", array, binary) for name, array in embedder.inputs(SENTENCES).items()]
    outputs = [triton.InferRequestedOutput("sentence_embedding", binary_data=binary)]
    got = client.infer("minilm", inputs, outputs=outputs).as_numpy("sentence_embedding")
    np.testing.assert_allclose(got, embedder.embed(SENTENCES), atol=1e-5)


def test_minilm_equals_onnxruntime_for_concurrent_callers(client, minilm):
    embedder = Embedder(minilm)
    calls = []
    for number in range(32):
        sentence = SENTENCES[number % len(SENTENCES)]
        inputs = [tensor(name, "INT64", array) for name, array in embedder.inputs([sentence]).items()]
        calls.append((sentence, client.async_infer("minilm", inputs)))
    wanted = {sentence: embedder.embed([sentence]) for sentence in SENTENCES}
    for sentence, call in calls:
        np.testing.assert_allclose(call.get_result().as_numpy("sentence_embedding"), wanted[sentence], atol=1e-5)


# Compression


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_compressed_calls_and_answers(client, coding, binary):
    rows = np.arange(40_000, dtype=np.float32).reshape(4, 10_000) % 100
    options = {"request_compression_algorithm": coding, "response_compression_algorithm": coding}
    answer = echo(client, "FP32", rows, binary_in=binary, binary_out=binary, **options)
    assert_same("FP32", rows, answer.as_numpy("y"))


def test_compressed_answers_say_so_and_are_smaller(http_address):
    data = [float(number % 100) for number in range(10_000)]
    body = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 10_000], "data": data}]})
    path, plain = "/v2/models/identity-fp32/infer", {"content-type": "application/json"}
    _, whole, given = post(http_address, path, body, plain)
    assert given["content-encoding"] is None
    status, packed, given = post(http_address, path, body, plain | {"accept-encoding": "gzip, deflate"})
    assert (status, given["content-encoding"], given["vary"]) == (200, "gzip", "accept-encoding")
    assert int(given["content-length"]) == len(packed) < len(whole) / 2
    assert gzip.decompress(packed) == whole


# Headers and metrics


def test_answers_carry_the_request_id_and_the_overhead(http_address):
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1]}]}
    headers = {"content-type": "application/json", "x-request-id": "mine-42"}
    status, answer, given = post(http_address, "/v2/models/identity-fp32/infer", json.dumps(body), headers)
    assert status == 200, answer
    assert given["x-request-id"] == "mine-42"
    assert int(given["x-weirgate-overhead-us"]) >= 0


def test_metrics_count_the_batches(client, admin_address):
    echo(client, "FP32", ROWS["FP32"])
    with urllib.request.urlopen(f"http://{admin_address}/metrics", timeout=30) as response:
        lines = response.read().decode().splitlines()
    counts = [line for line in lines if line.startswith("weirgate_batch_rows_count") and "identity-fp32" in line]
    assert counts and float(counts[0].split()[-1]) >= 1
    assert any(line.startswith("weirgate_batches_closed_total") for line in lines)
