"""Ends with a short load test of the server, open loop, and says where its report lies."""

import json

from paths import BUILD, ROOT
from tell import check, headline, say

RATE = 200
SECONDS = 3
# Wide: what a busy machine does to its latencies is no fault of the demo.
OBJECTIVE = "p99<1s,errors<0.1%"


def load_test(server):
    headline(f"a load test: {RATE} requests a second whatever becomes of those before, every answer checked")
    result, page = BUILD / "loadtest.json", BUILD / "loadtest.html"
    words = ["-m", "digits", "-r", str(RATE), "-d", f"{SECONDS}s", "--expect", "same", "--slo", OBJECTIVE]
    files = ["--out", str(result.relative_to(ROOT)), "--html", str(page.relative_to(ROOT))]
    server.run("loadtest", f"http://{server.data}", *words, *files, "--progress", "none")
    run = json.loads(result.read_text())["findings"]["run"]
    outcomes = run["outcomes"]
    check(outcomes["ok"] == run["due"] > 0, f"of {run['due']} requests {outcomes['ok']} were answered right: {outcomes}")
    say(f"all {run['due']:,} requests were answered, each request alike each time")
    say(f"open the report: {page.relative_to(ROOT)}")
