"""Leads the second version of a service through its life: dark, canary, broken, promoted, rolled back. Every call is counted."""

import json
import threading
from collections import Counter

import numpy as np
from calls import Caller, json_body, outputs_of, read_samples
from paths import BUILD, ROOT
from tell import DemoError, check, headline, say

REVISION = "x-weirgate-revision"
CALLERS = 4
CALLS = 1_000
FEW_CALLS = 200
USERS = 300


class Reader:
    """The service as its callers see it: who answers, and whether it is truly that revision's answer."""

    def __init__(self, server):
        self.server = server
        images, self.labels = read_samples()
        self.bodies = [json_body({"X": image[None]}, ["label", "probabilities"]) for image in images]
        self.all_images = json_body({"X": images}, ["label", "probabilities"])
        # Revision -> its answers to every image; learned by asking for that revision.
        self.answers = {}

    def learn(self, revision):
        """The revision that is meant by a name, after asking it for what it makes of every image."""
        with Caller(self.server.data, "reader") as caller:
            answer, headers = caller.call(self.all_images, x_weirgate_revision=revision)
        name = headers[REVISION]
        self.answers[name] = outputs_of(answer)
        return name

    def right(self, revision):
        return int((self.answers[revision]["label"] == self.labels).sum())

    def ask(self, calls, headers=lambda number: {}, below=""):
        """Sends this many calls from a few callers at once. Returns who answered how many, and which."""
        answered, failures = [None] * calls, []

        def run(first):
            try:
                with Caller(self.server.data, "reader", below) as caller:
                    for number in range(first, calls, CALLERS):
                        answered[number] = self.one(caller, number, headers(number))
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=run, args=(first,)) for first in range(CALLERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        check(not failures, f"a call failed: {failures[:1]}")
        return Counter(answered), answered

    def one(self, caller, number, headers):
        image = number % len(self.bodies)
        answer, got = caller.call(self.bodies[image], **headers)
        revision = got[REVISION]
        expected = self.answers.get(revision)
        check(expected is not None, f"revision {revision} answered, which nobody has heard of")
        drift = float(np.abs(outputs_of(answer)["probabilities"][0] - expected["probabilities"][image]).max())
        check(drift <= 1e-5, f"an answer says it is of {revision}, and differs from that one's by {drift:.1e}")
        return revision

    def expect(self, calls, expected, **how):
        """Calls are answered by just so many of each revision."""
        counts, _ = self.ask(calls, **how)
        wanted = Counter({name: count for name, count in expected.items() if count})
        check(counts == wanted, f"of {calls} calls {dict(counts)} were answered, expected was {dict(wanted)}")
        return counts

    def table(self, counts, notes):
        width = max(map(len, notes))
        say(f"{REVISION:<{width}}  {'calls':>6}  images read right")
        for name, note in notes.items():
            say(f"{name:<{width}}  {counts[name]:>6}  {self.right(name)} of {len(self.labels)}  ({note})")


def with_storage(manifest, location):
    """An example's text with another model in it."""
    text = (ROOT / "examples" / "canary" / manifest).read_text()
    lines = [
        f"{line[: line.index('storageUri')]}storageUri: {location}" if line.lstrip().startswith("storageUri:") else line
        for line in text.splitlines()
    ]
    return "\n".join(lines) + "\n"


def lead(server):
    headline("reader: a service that is applied, not served from a file")
    server.run("apply", "-f", "examples/canary/first.yaml", "--wait")
    reader = Reader(server)
    v1 = reader.learn("stable")
    v2 = split(server, reader, v1)
    stick(server, reader, v1, v2)
    hide(server, reader, v1, v2)
    break_it(server, reader, v1)
    promote_and_roll_back(server, reader, v1, v2)


def split(server, reader, v1):
    headline("reader: a second version takes 20 % of the calls")
    server.run("apply", "-f", "examples/canary/second.yaml", "--wait")
    v2 = reader.learn("latest")
    check(v1 != v2, f"both versions are called {v1}")
    differ = np.abs(reader.answers[v1]["probabilities"] - reader.answers[v2]["probabilities"]).max()
    check(differ > 1e-3, "the two versions answer alike: who answered can't be told")
    counts = reader.expect(CALLS, {v1: CALLS * 80 // 100, v2: CALLS * 20 // 100})
    reader.table(counts, {v1: "stable", v2: "canary"})
    say(f"exactly 20 % of {CALLS:,} calls, not about 20 %: the split is counted, not drawn")
    server.run("get", "reader")
    return v2


def stick(server, reader, v1, v2):
    headline("reader: users stick to a version (header x-user)")

    def canary_users():
        users = [f"user-{number}" for number in range(USERS)]
        _, twice = reader.ask(2 * USERS, lambda number: {"x_user": users[number % USERS]})
        once, again = twice[:USERS], twice[USERS:]
        check(once == again, "a user was answered by both versions")
        return {user for user, revision in zip(users, once) if revision == v2}

    few = canary_users()
    server.run("rollout", "set", "reader", "50")
    server.run("rollout", "status", "reader")
    more = canary_users()
    check(few < more, "a user went back from the canary while its share grew")
    shares = f"{len(few) / USERS:.0%} at 20 %, {len(more) / USERS:.0%} at 50 %"
    say(f"of {USERS} users with two calls each, the canary answered {shares}: some came to it, none left it")
    check(0.1 < len(few) / USERS < 0.3 and 0.4 < len(more) / USERS < 0.6, f"the shares of the users are off: {shares}")


def hide(server, reader, v1, v2):
    headline("reader: a dark revision, at 0 % and yet there for those who ask")
    server.run("rollout", "set", "reader", "0")
    server.run("rollout", "status", "reader")
    reader.expect(CALLS, {v1: CALLS})
    reader.expect(FEW_CALLS, {v2: FEW_CALLS}, headers=lambda number: {"x_weirgate_revision": "latest"})
    reader.expect(FEW_CALLS, {v2: FEW_CALLS}, below="/default/latest-reader")
    say(f"without asking for it                     0 of {CALLS:,} calls")
    say(f"x-weirgate-revision: latest             {FEW_CALLS} of {FEW_CALLS}")
    say(f"/default/latest-reader/v2/models/...    {FEW_CALLS} of {FEW_CALLS}")


def break_it(server, reader, v1):
    headline("reader: a broken version, half of a download, at 20 %")
    model = BUILD / "half" / "model.onnx"
    model.parent.mkdir()
    whole = (ROOT / "models" / "zoo" / "digits-v2" / "model.onnx").read_bytes()
    model.write_bytes(whole[: len(whole) // 2])
    manifest = with_storage("second.yaml", model.parent)
    server.run("apply", "-f", "-", "--wait", given=manifest, code=1)
    reader.expect(CALLS, {v1: CALLS})
    say(f"calls that it was given: 0 of {CALLS:,}")
    server.run("get", "reader")
    object, _ = server.ask("get", "reader", "-o", "json")
    conditions = {condition["type"]: condition for condition in json.loads(object)["status"]["conditions"]}
    fault = conditions["PredictorReady"]
    say("and the condition that `weirgate describe reader` shows:")
    say(f"  PredictorReady={fault['status']} {fault.get('reason')}: {fault.get('message', '').splitlines()[0]}")
    described, _ = server.ask("describe", "reader")
    check("ModelLoadFailed" in described and str(model) in described, "describe does not say why the version is broken")


def promote_and_roll_back(server, reader, v1, v2):
    headline("reader: the good version again, promoted, and rolled back")
    server.run("apply", "-f", "examples/canary/second.yaml", "--wait")
    server.run("rollout", "promote", "reader")
    server.run("rollout", "status", "reader")
    reader.expect(CALLS, {v2: CALLS})
    server.run("get", "reader")
    server.run("rollout", "rollback", "reader")
    server.run("rollout", "status", "reader")
    reader.expect(CALLS, {v1: CALLS})
    server.run("get", "reader")
    say(f"{CALLS:,} calls after the promotion went to the second version, {CALLS:,} after the rollback to the first")
