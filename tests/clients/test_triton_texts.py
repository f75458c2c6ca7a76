"""Texts from a language model by V2, as NVIDIA's clients ask for them: over a stream of gRPC, and whole."""

import json
import queue
import urllib.error
import urllib.request

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

MODEL = "smol"
PROMPT = "The capital of France is"
GREEDY = {"max_tokens": 12, "temperature": 0.0}
WAIT = 60


def texts(triton, name, text):
    given = triton.InferInput(name, [1], "BYTES")
    given.set_data_from_numpy(np.array([text.encode()], object))
    return given


def flag(triton, name, value):
    given = triton.InferInput(name, [1], "BOOL")
    given.set_data_from_numpy(np.array([value]))
    return given


def is_last(parameters):
    return "triton_final_response" in parameters and parameters["triton_final_response"].bool_param


@pytest.fixture(scope="module")
def over_http(base_url):
    """What `generate` answers."""

    def generate(text, parameters):
        body = json.dumps({"text_input": text, "parameters": parameters}).encode()
        request = urllib.request.Request(f"{base_url}/v2/models/{MODEL}/generate", body)
        with urllib.request.urlopen(request, timeout=WAIT) as answer:
            return json.load(answer)

    return generate


class Stream:
    def __init__(self, address):
        self.client = triton_grpc.InferenceServerClient(address)
        self.answers = queue.Queue()

    def __enter__(self):
        self.client.start_stream(callback=lambda result, error: self.answers.put((result, error)))
        return self

    def __exit__(self, *_):
        self.client.stop_stream(cancel_requests=True)
        self.client.close()

    def ask(self, text, parameters, more=(), **options):
        inputs = [texts(triton_grpc, "text_input", text), *more]
        self.client.async_stream_infer(MODEL, inputs, parameters=parameters, **options)

    def piece(self):
        """The id, the text and the parameters of the next answer, which must be no error."""
        result, error = self.answers.get(timeout=WAIT)
        assert error is None, error
        response = result.get_response()
        output = result.as_numpy("text_output")
        assert output.shape == (1,)
        assert response.model_name == MODEL
        # Asking such a map for what it lacks would put it there.
        return response.id, output[0].decode(), dict(response.parameters)

    def pieces(self):
        """All of one text's."""
        seen = []
        while not seen or not is_last(seen[-1][2]):
            seen.append(self.piece())
        return seen


@pytest.fixture
def stream(grpc_address):
    with Stream(grpc_address) as stream:
        yield stream


def test_a_streamed_text_is_that_of_http(stream, over_http):
    expected = over_http(PROMPT, GREEDY)
    stream.ask(PROMPT, GREEDY, request_id="7")
    pieces = stream.pieces()
    assert len(pieces) > 3
    assert "".join(text for _, text, _ in pieces) == expected["text_output"]
    assert {id for id, _, _ in pieces} == {"7"}
    assert all(parameters["x-weirgate-revision"].string_param for _, _, parameters in pieces)
    *others, (_, _, last) = pieces
    assert last["finish_reason"].string_param == expected["details"]["finish_reason"] == "length"
    assert not any("finish_reason" in parameters or "triton_final_response" in parameters for _, _, parameters in others)


def test_texts_of_one_stream_interleave(stream):
    long = {"max_tokens": 60, "ignore_eos": True, "temperature": 0.0}
    stream.ask(PROMPT, long, request_id="a")
    stream.ask("One, two, three,", long, request_id="b")
    order, ended = [], set()
    while ended != {"a", "b"}:
        id, _, parameters = stream.piece()
        order.append(id)
        if is_last(parameters):
            ended.add(id)
    first, second = order[0], ({"a", "b"} - {order[0]}).pop()
    last = len(order) - 1 - order[::-1].index(first)
    assert order.index(second) < last, order


def test_inputs_beside_the_text_are_those_of_tritons_backend(stream, over_http):
    # Its own example writes numbers as strings.
    sampling = json.dumps({"temperature": "0", "max_tokens": 12})
    more = [
        texts(triton_grpc, "sampling_parameters", sampling),
        flag(triton_grpc, "stream", False),
        flag(triton_grpc, "exclude_input_in_output", False),
    ]
    stream.ask(PROMPT, None, more)
    [(_, text, parameters)] = stream.pieces()
    assert text == PROMPT + over_http(PROMPT, GREEDY)["text_output"]
    assert parameters["finish_reason"].string_param == "length"


@pytest.mark.parametrize(
    "parameters, named",
    [({"temperature": 7.0}, "temperature"), ({"max_tokens": 0}, "max_tokens"), ({"beam_width": 4}, "beam_width")],
)
def test_a_wrong_parameter_is_an_error_that_names_it_and_the_stream_goes_on(stream, parameters, named):
    stream.ask(PROMPT, parameters)
    _, error = stream.answers.get(timeout=WAIT)
    assert named in error.message(), error
    stream.ask(PROMPT, GREEDY)
    assert stream.pieces()


def test_a_wrong_input_is_an_error_that_names_it(stream):
    stream.ask(PROMPT, None, [texts(triton_grpc, "image", "x")])
    _, error = stream.answers.get(timeout=WAIT)
    assert "input 'image' is not known" in error.message()


@pytest.mark.parametrize("triton", [triton_grpc, triton_http], ids=["grpc", "http"])
def test_a_whole_text_is_that_of_http(triton, http_address, over_http):
    with triton.InferenceServerClient(http_address) as client:
        inputs = [texts(triton, "text_input", PROMPT)]
        result = client.infer(MODEL, inputs, parameters=GREEDY, request_id="9")
        expected = over_http(PROMPT, GREEDY)
        assert result.as_numpy("text_output")[0].decode() == expected["text_output"]
        response = result.get_response()
        assert (response.id if triton is triton_grpc else response["id"]) == "9"
        if triton is triton_grpc:
            assert response.parameters["finish_reason"].string_param == "length"
        with pytest.raises(InferenceServerException, match="temperature"):
            client.infer(MODEL, inputs, parameters={"temperature": 7.0})


def test_what_a_language_model_is_like(grpc_address, http_address):
    with triton_grpc.InferenceServerClient(grpc_address) as client:
        assert client.is_model_ready(MODEL)
        metadata = client.get_model_metadata(MODEL)
        tensors = [(tensor.name, tensor.datatype, list(tensor.shape)) for tensor in [*metadata.inputs, *metadata.outputs]]
        assert tensors == [("text_input", "BYTES", [1]), ("text_output", "BYTES", [1])]
        config = client.get_model_config(MODEL).config
        assert config.model_transaction_policy.decoupled
        assert config.max_batch_size == 0
        statistics = client.get_inference_statistics(MODEL)
        assert statistics.model_stats[0].name == MODEL
    with triton_http.InferenceServerClient(http_address) as client:
        assert client.get_model_config(MODEL)["model_transaction_policy"] == {"decoupled": True}


def test_a_version_that_is_not_there_is_not_found(http_address):
    with triton_grpc.InferenceServerClient(http_address) as client:
        with pytest.raises(InferenceServerException, match="version"):
            client.infer(MODEL, [texts(triton_grpc, "text_input", PROMPT)], model_version="3")
