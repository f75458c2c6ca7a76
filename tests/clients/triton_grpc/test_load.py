"""Large calls, many at once, and calls that end early."""

import threading

import numpy as np
from calls import CALLERS, WAIT, Concurrent, echo, refused, tensor, typed_request
from common import ROWS, SENTENCES, Embedder, assert_same


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
