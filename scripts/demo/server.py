"""The server that the demo starts, and the commands that it gives it."""

import os
import queue
import re
import shutil
import signal
import subprocess
import threading
import time
import urllib.request
from contextlib import contextmanager

import embed
from paths import BINARY, BUILD, LIBRARY, LOG, ROOT, STATE
from tell import DemoError, check

START_SECONDS = 120
STOP_SECONDS = 30
COMMAND_SECONDS = 60


class Server:
    def __init__(self, process, data, admin):
        self.process = process
        self.data = data
        self.admin = admin

    def run(self, *words, given=None, code=0):
        """Runs a command of weirgate's as the reader would type it, shows what it prints, and returns that."""
        text, printed = self.ask(*words, given=given, code=code)
        print(f"  $ weirgate {' '.join(words)}")
        for line in printed.splitlines():
            print(f"    {line}")
        return text

    def ask(self, *words, given=None, code=0):
        """Runs a command in silence. Returns its standard output, and all that it printed."""
        environment = {**os.environ, "WEIRGATE_ADMIN": self.admin, "WEIRGATE_STATE": str(STATE)}
        try:
            done = subprocess.run(
                [BINARY, *words],
                cwd=ROOT,
                env=environment,
                input=given or "",
                capture_output=True,
                text=True,
                timeout=COMMAND_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise DemoError(f"weirgate {' '.join(words)}: no end within {COMMAND_SECONDS} s") from None
        printed = done.stdout + done.stderr
        check(
            done.returncode == code,
            f"weirgate {' '.join(words)}: exit code {done.returncode}, expected was {code}: {printed.strip()}",
        )
        return done.stdout, printed

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise DemoError(f"the server did not stop within {STOP_SECONDS} s of SIGTERM: see {LOG}") from None


def read_addresses(process):
    """The first two lines of the server's standard output: `data  http://HOST:PORT` and `admin http://HOST:PORT`."""
    lines = queue.Queue()

    def read():
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    found = {}
    deadline = time.monotonic() + START_SECONDS
    while len(found) < 2:
        try:
            line = lines.get(timeout=max(deadline - time.monotonic(), 0.0))
        except queue.Empty:
            raise DemoError(f"the server did not say its addresses within {START_SECONDS} s") from None
        if line is None:
            raise DemoError(f"the server ended with exit code {process.wait()} before it said its addresses")
        match = re.fullmatch(r"(data|admin)\s+http://(\S+?)/?\s*", line)
        if match:
            found[match[1]] = match[2]
    return found["data"], found["admin"]


def wait_until_ready(process, address):
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise DemoError(f"the server ended with exit code {process.returncode} before it was ready")
        try:
            with urllib.request.urlopen(f"http://{address}/v2/health/ready", timeout=5):
                return
        except OSError:
            time.sleep(0.02)
    raise DemoError(f"the server was not ready within {START_SECONDS} s")


@contextmanager
def serving(*manifests):
    """A server of its own, with free ports and an empty state folder."""
    check(BINARY.exists(), f"no weirgate at {BINARY}: run `make build`, or name one in WEIRGATE_BIN")
    check(LIBRARY.exists(), f"no ONNX Runtime at {LIBRARY}: run `make setup`, or name one in ORT_DYLIB_PATH")
    check(embed.TOKENIZER.exists(), f"no model at {embed.TOKENIZER.parent}: run `make setup`")
    shutil.rmtree(BUILD, ignore_errors=True)
    BUILD.mkdir(parents=True)
    words = ["serve", *(word for manifest in manifests for word in ("-f", manifest))]
    print("$ weirgate " + " ".join(words))
    ports = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--state", str(STATE)]
    started = time.monotonic()
    with LOG.open("wb") as log:
        process = subprocess.Popen(
            [BINARY, *words, *ports],
            cwd=ROOT,
            env={**os.environ, "ORT_DYLIB_PATH": str(LIBRARY)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        data, admin = read_addresses(process)
        wait_until_ready(process, data)
        print(f"ready after {time.monotonic() - started:.1f} s: data http://{data}, admin http://{admin}")
        yield Server(process, data, admin)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        shutil.rmtree(STATE, ignore_errors=True)
