"""Serves three real models with weirgate, asks them every way, shows batches form, takes up a version, leads a canary,
measures.

`make demo` runs it after building. It needs build/venv's Python, and takes WEIRGATE_BIN and ORT_DYLIB_PATH from the
environment. Exits 0 only if every answer was right, every count exact and the server stopped cleanly.

    server      the server, and the commands it is given
    calls       calls over HTTP
    protocols   every protocol answers alike
    chat        a language model answers, streamed
    load        batches form under load
    versions    a new version in a model's folder
    canary      a canary, a dark revision, a broken one, a promotion and a rollback
    measure     a load test, and its report
"""

import sys
import time

from paths import LOG, ROOT

sys.path.insert(0, str(ROOT / "examples"))

try:
    import canary
    import chat
    import embed
    import load
    import measure
    import protocols
    import versions
except ModuleNotFoundError as error:
    sys.exit(f"demo: the package {error.name} is missing: run `make setup`, and this with build/venv/bin/python")

from server import serving
from tell import DemoError, check, headline


def main():
    started = time.monotonic()
    LOG.unlink(missing_ok=True)
    try:
        with serving("examples") as server:
            protocols.ask_digits(server.data)
            tokenizer = protocols.ask_minilm(server.data)
            chat.ask(server.data)
            load.digits(server)
            load.minilm(server, tokenizer)
            versions.take_up(server)
            canary.lead(server)
            measure.load_test(server)
            code = server.stop()
            check(code == 0, f"the server ended with exit code {code} after SIGTERM")
        seconds = time.monotonic() - started
        headline(f"every answer was right, every count exact, and the server stopped cleanly ({seconds:.0f} s)")
    except (DemoError, embed.CallError, OSError) as error:
        return report_failure(error)
    except Exception as error:
        return report_failure(f"{type(error).__name__}: {error}")
    return 0


def report_failure(error):
    print(f"demo: {error}", file=sys.stderr)
    if LOG.exists():
        tail = LOG.read_text(errors="replace").splitlines()[-15:]
        print("\n".join([f"the last lines of {LOG}:", *(f"  {line}" for line in tail)]), file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
