"""Puts a second version into a model's folder and loads it by name, while calls go on: none is lost."""

import json
import shutil
import threading
import urllib.request

from calls import Caller, json_body, read_samples
from paths import BUILD, ROOT, STATE
from tell import check, headline, say

FOLDER = BUILD / "versions"
MANIFEST = f"""\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {{name: versions}}
spec:
  predictor:
    model:
      modelFormat: {{name: onnx}}
      storageUri: {FOLDER}
"""


def put(version, model):
    """A version appears whole, as a rename makes it."""
    part = FOLDER.with_name("version.part")
    part.mkdir(parents=True)
    shutil.copy(ROOT / "models" / "zoo" / model / "model.onnx", part)
    part.rename(FOLDER / str(version))


def post(address, path):
    token = (STATE / "token").read_text().strip()
    request = urllib.request.Request(f"http://{address}{path}", b"", {"authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return response.read().decode()


def take_up(server):
    headline("versions: a model folder gets another version")
    FOLDER.mkdir()
    put(1, "digits")
    server.ask("apply", "-f", "-", "--wait", given=MANIFEST)
    images, _ = read_samples()
    body = json_body({"X": images}, ["label"])
    seen, failures, stop = [], [], threading.Event()

    def call():
        try:
            with Caller(server.data, "versions") as caller:
                while not stop.is_set():
                    seen.append(json.loads(caller.call(body)[0])["model_version"])
        except Exception as error:
            failures.append(error)

    caller = threading.Thread(target=call)
    caller.start()
    try:
        while not seen and not failures:
            caller.join(0.01)
        put(2, "digits-v2")
        path = "/v2/repository/models/versions/load"
        say(f"$ curl -X POST -H 'authorization: Bearer …' {path}")
        say(f"  {post(server.data, path)}")
        # Answered when it has loaded: from here on version 2 answers.
        before = len(seen)
        while len(seen) < before + 10 and not failures:
            caller.join(0.01)
    finally:
        stop.set()
        caller.join()
    check(not failures, f"a call failed while the version was taken up: {failures[:1]}")
    check(set(seen) == {"1", "2"} and seen == sorted(seen), f"versions answered in the order {seen}")
    check("1" not in seen[before + 1 :], "version 1 answered after the load of version 2 had been answered")
    counts = ", ".join(f"version {version} answered {seen.count(version)}" for version in "12")
    say(f"{len(seen)} calls meanwhile: {counts}, none was lost")
    server.ask("delete", "versions")
