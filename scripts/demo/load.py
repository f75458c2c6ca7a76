"""One caller, then many: what a call takes, and how batches form by themselves."""

import re
import statistics
import threading
import time
import urllib.request

import embed
import numpy as np
from calls import Caller, json_body, read_samples
from tell import check, headline

CALLERS = 32
LOAD_SECONDS = 3.0
LONE_CALLS = 30


def scrape(admin):
    """Metric name -> [(labels, value)]."""
    with urllib.request.urlopen(f"http://{admin}/metrics", timeout=10) as response:
        text = response.read().decode()
    metrics = {}
    for line in text.splitlines():
        match = re.fullmatch(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)(?: \d+)?", line)
        if match:
            labels = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match[2] or ""))
            metrics.setdefault(match[1], []).append((labels, float(match[3])))
    return metrics


def total(metrics, name, service, by=None):
    """The sum of a service's series, or one sum for each value of the label `by`."""
    sums = {}
    for labels, value in metrics.get(name, []):
        if labels.get("service") == service:
            key = labels.get(by, "") if by else ""
            sums[key] = sums.get(key, 0.0) + value
    return sums if by else sums.get("", 0.0)


def growth(before, after, name, service, by):
    old = total(before, name, service, by)
    return {key: value - old.get(key, 0.0) for key, value in total(after, name, service, by).items()}


def lone_caller(address, model, body):
    """Milliseconds of each call, and the gateway's own microseconds as its header says them."""
    times, overheads = [], []
    with Caller(address, model) as caller:
        for number in range(LONE_CALLS + 5):
            started = time.perf_counter()
            _, headers = caller.call(body)
            if number >= 5:
                times.append((time.perf_counter() - started) * 1e3)
                overheads.append(float(headers["x-weirgate-overhead-us"] or "nan"))
    return times, overheads


def many_callers(address, model, bodies):
    """Milliseconds of every call that CALLERS callers make in LOAD_SECONDS, each one call at a time."""
    times, failures, gate = [], [], threading.Barrier(CALLERS)

    def run(body):
        own = []
        try:
            with Caller(address, model) as caller:
                gate.wait(30)
                end = time.perf_counter() + LOAD_SECONDS
                while (started := time.perf_counter()) < end:
                    caller.call(body)
                    own.append((time.perf_counter() - started) * 1e3)
        except Exception as error:
            failures.append(error)
        times.extend(own)

    threads = [threading.Thread(target=run, args=(bodies[number % len(bodies)],)) for number in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check(not failures, f"{len(failures)} of {CALLERS} callers of {model} failed, the first with: {failures[:1]}")
    return times


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def batch_lines(buckets, batches):
    """The histogram's own (cumulative) buckets as a bar for each range of rows."""
    lines, below, least = [], 0.0, 1
    for bound in sorted(buckets, key=float):
        count, below = buckets[bound] - below, buckets[bound]
        upper = float(bound)
        if count > 0:
            if upper == float("inf"):
                label = f"{least} or more"
            else:
                label = f"{least}" if least == upper else f"{least} to {upper:.0f}"
            bar = "#" * max(round(40 * count / batches), 1)
            unit = "row" if label == "1" else "rows"
            lines.append(f"    {label:>10} {unit:<4}  {count:>7.0f}  {bar}")
        least = int(upper) + 1 if upper != float("inf") else least
    return lines


def load(server, model, bodies):
    headline(f"{model}: one caller, then {CALLERS} callers for {LOAD_SECONDS:.0f} s")
    times, overheads = lone_caller(server.data, model, bodies[0])
    print(
        f"  one caller     p50 {statistics.median(times):.2f} ms, of which the gateway's own part"
        f" {statistics.median(overheads):.0f} us (x-weirgate-overhead-us)"
    )
    before = scrape(server.admin)
    times = many_callers(server.data, model, bodies)
    after = scrape(server.admin)

    print(
        f"  {CALLERS} callers     {len(times)} requests, {len(times) / LOAD_SECONDS:.0f} a second,"
        f" p50 {percentile(times, 0.5):.1f} ms, p99 {percentile(times, 0.99):.1f} ms"
        " (with the Python client's own time)"
    )
    batches = total(after, "weirgate_batch_rows_count", model) - total(before, "weirgate_batch_rows_count", model)
    rows = total(after, "weirgate_batch_rows_sum", model) - total(before, "weirgate_batch_rows_sum", model)
    check(batches > 0, f"the metrics show no batch of {model}")
    check(rows >= len(times), f"the metrics show {rows:.0f} rows of {model} in batches, {len(times)} were answered")
    print(f"  batches        {batches:.0f}, mean {rows / batches:.1f} rows")
    for line in batch_lines(growth(before, after, "weirgate_batch_rows_bucket", model, "le"), batches):
        print(line)
    reasons = growth(before, after, "weirgate_batches_closed_total", model, "reason")
    said = ", ".join(f"{reason} {count:.0f}" for reason, count in sorted(reasons.items()) if count > 0)
    print(f"  closed because {said or 'no reason given'}")


def digits(server):
    images, _ = read_samples()
    load(server, "digits", [json_body({"X": image[None]}, ["label"]) for image in images])


def minilm(server, tokenizer):
    rows = embed.tensors(tokenizer, embed.SENTENCES)
    bodies = [
        json_body({name: np.array([row[number]], np.int64) for name, row in rows.items()}, [embed.OUTPUT])
        for number in range(len(embed.SENTENCES))
    ]
    load(server, "minilm", bodies)
