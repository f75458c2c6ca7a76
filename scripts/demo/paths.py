"""Where things are. Everything that the demo writes is below build/demo/, which it makes anew."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = ROOT / "build" / "demo"
LOG = BUILD / "server.log"
STATE = BUILD / "state"
BINARY = Path(os.environ.get("WEIRGATE_BIN", ROOT / "target" / "release" / "weirgate"))
LIBRARY = Path(os.environ.get("ORT_DYLIB_PATH", ROOT / "build" / "onnxruntime" / "libonnxruntime.so"))
