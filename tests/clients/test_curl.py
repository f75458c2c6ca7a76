"""curl, as people type it."""

import gzip
import json
import subprocess

import pytest

WAIT = 60


@pytest.fixture
def curl(base_url):
    """Runs curl against a path: the status, the head by lower-case names, and the body."""

    def run(path, *arguments, stdin=b""):
        command = ["curl", "--silent", "--show-error", "--include", "--max-time", str(WAIT), *arguments, base_url + path]
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=2 * WAIT)
        assert done.returncode == 0, done.stderr.decode()
        rest = done.stdout
        # A request with `Expect` gets an interim head first.
        status = 100
        while status == 100:
            head, _, rest = rest.partition(b"\r\n\r\n")
            first, *lines = head.decode().split("\r\n")
            status = int(first.split()[1])
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        return status, headers, rest

    return run


V1 = '{"instances": [[1, 2], [3, 4]]}'
V2 = '{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2.5]}]}'
V2_PATH = "/v2/models/identity-fp32/infer"


def assert_echo(answer, data):
    status, headers, body = answer
    assert status == 200, body
    assert headers["content-type"] == "application/json"
    assert json.loads(body)["outputs"][0]["data"] == data


def test_v1_with_the_content_type_of_a_form(curl):
    status, headers, body = curl("/v1/models/add-3:predict", "-d", V1)
    assert status == 200, body
    assert headers["content-type"] == "application/json"
    assert json.loads(body) == {"predictions": [[4, 5], [6, 7]]}


def test_v2_with_the_content_type_of_a_form(curl):
    assert_echo(curl(V2_PATH, "-d", V2), [1, 2.5])


def test_v2_with_json(curl):
    assert_echo(curl(V2_PATH, "--json", V2), [1, 2.5])


def test_a_chunked_body(curl):
    assert_echo(curl(V2_PATH, "-H", "transfer-encoding: chunked", "--data-binary", "@-", stdin=V2.encode()), [1, 2.5])


def test_a_large_body_with_expect(curl):
    numbers = list(range(300_000))
    body = {"inputs": [{"name": "x", "datatype": "INT64", "shape": [1, len(numbers)], "data": numbers}]}
    answer = curl("/v2/models/identity-int64/infer", "-H", "expect: 100-continue", "--data-binary", "@-", stdin=json.dumps(body).encode())
    assert_echo(answer, numbers)


def test_http2_with_prior_knowledge(curl):
    assert_echo(curl(V2_PATH, "--http2-prior-knowledge", "-d", V2), [1, 2.5])


def test_http2_by_upgrade_is_answered_all_the_same(curl):
    status, headers, body = curl("/v2/health/live", "--http2")
    assert status == 200, body


def test_an_answer_that_may_be_compressed(curl):
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [64, 64], "data": [0.5] * 4096}]}
    answer = curl(V2_PATH, "--compressed", "--data-binary", "@-", stdin=json.dumps(body).encode())
    assert_echo(answer, [0.5] * 4096)


def test_a_compressed_body(curl):
    answer = curl(V2_PATH, "-H", "content-encoding: gzip", "--data-binary", "@-", stdin=gzip.compress(V2.encode()))
    assert_echo(answer, [1, 2.5])


def test_a_coding_that_is_not_read(curl):
    status, headers, body = curl(V2_PATH, "-H", "content-encoding: br", "-d", V2)
    assert status == 415, body
    assert "gzip" in headers["accept-encoding"]


@pytest.mark.parametrize("path", ["/", "/v2", "/v2/health/live", "/v2/health/ready", "/v1/models", "/v2/models/two-io"])
def test_head_is_get_without_a_body(curl, path):
    status, headers, body = curl(path)
    assert status == 200, body
    head_status, head_headers, nothing = curl(path, "--head")
    assert (head_status, nothing) == (200, b"")
    assert head_headers["content-length"] == headers["content-length"] == str(len(body))


def test_options_say_what_may_be_asked(curl):
    status, headers, _ = curl(V2_PATH, "-X", "OPTIONS")
    assert status in (200, 204)
    assert "POST" in headers["allow"]


def test_a_wrong_method_says_which_is_right(curl):
    status, headers, body = curl(V2_PATH)
    assert status == 405
    assert headers["allow"] == "POST"
    assert json.loads(body)["error"]


def test_a_path_without_a_route(curl):
    status, headers, body = curl("/no/such/route")
    assert status == 404
    assert headers["content-type"] == "application/json"
    assert "/no/such/route" in json.loads(body)["error"]


def test_a_body_that_is_no_json(curl):
    for path in ("/v1/models/identity-fp32:predict", V2_PATH):
        status, _, body = curl(path, "-d", "nonsense")
        assert status == 400
        assert json.loads(body)["error"]
