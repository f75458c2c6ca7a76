"""V1, with requests and with curl: to servers that speak it, and to those that speak V2 only."""

import json
import subprocess

import pytest
import requests

# Their models double; the plain one adds each row up.
DOUBLERS = ["kserve-http", "mlserver-http", "kserve-grpc", "mlserver-grpc"]
ROWS = [[1.0, 2.0], [3.0, -4.5]]
DOUBLED = [[2.0, 4.0], [6.0, -9.0]]


def test_a_server_of_plain_python(base_url):
    answer = requests.post(f"{base_url}/v1/models/sum:predict", json={"instances": ROWS}, timeout=60)
    assert (answer.status_code, answer.json()) == (200, {"predictions": [3.0, -1.5]})


def test_its_own_refusal_is_passed_on(base_url):
    answer = requests.post(f"{base_url}/v1/models/sum:predict", json={"instances": "none"}, timeout=60)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("instances must be rows of numbers")


def test_calls_of_one_connection_reach_every_replica(base_url):
    with requests.Session() as session:
        for number in range(20):
            answer = session.post(f"{base_url}/v1/models/sum:predict", json={"instances": [[number, 1]]}, timeout=60)
            assert answer.json() == {"predictions": [number + 1]}


@pytest.mark.parametrize("model", DOUBLERS)
def test_rows_are_doubled(base_url, model):
    answer = requests.post(f"{base_url}/v1/models/{model}:predict", json={"instances": ROWS}, timeout=60)
    assert answer.status_code == 200, answer.text
    assert answer.json()["predictions"] == DOUBLED


def test_curl_sends_in_chunks(base_url):
    command = ["curl", "--silent", "--fail-with-body", "--max-time", "60", "--header", "transfer-encoding: chunked"]
    command += ["--data-binary", "@-", f"{base_url}/v1/models/sum:predict"]
    done = subprocess.run(command, input=json.dumps({"instances": ROWS}), capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"predictions": [3.0, -1.5]}


@pytest.mark.parametrize("model", ["sum", "kserve-http"])
def test_a_model_says_that_it_is_ready(base_url, model):
    answer = requests.get(f"{base_url}/v1/models/{model}", timeout=60)
    assert answer.status_code == 200
    assert answer.json()["ready"] in (True, "True")


def test_rows_need_the_names_of_a_models_inputs(base_url):
    answer = requests.post(f"{base_url}/v1/models/untold-grpc:predict", json={"instances": ROWS}, timeout=60)
    assert answer.status_code == 501
    assert "don't say which inputs the model takes" in answer.json()["error"]
