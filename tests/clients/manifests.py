#!/usr/bin/env python3
"""Prints the InferenceServices of the test models, one for each folder, as one YAML file.

    python3 tests/clients/manifests.py MODELS [NAME...] > testing.yaml

MODELS is the folder that holds testing/ and minilm/ (build/models). A service is named like its folder, with - for _.
Without names, every test model that loads gets a service, and digits and minilm too, where they are there. `broken`
can't be loaded: it is in only when named.
"""

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

SERVICE = """\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: {name}
spec:
  predictor:
    model:
      modelFormat:
        name: onnx
      storageUri: {uri}
"""


def services(models):
    """Service name -> the model's folder."""
    folders = [*(models / "testing").glob("*/"), models / "minilm", ROOT / "models" / "zoo" / "digits"]
    return {folder.name.replace("_", "-"): folder for folder in folders if (folder / "model.onnx").is_file()}


def main():
    parser = argparse.ArgumentParser(description="print the InferenceServices of the test models")
    parser.add_argument("models", type=Path, help="the folder that holds testing/ and minilm/")
    parser.add_argument("names", nargs="*", help="services to print (default: all that load)")
    arguments = parser.parse_args()

    known = services(arguments.models.resolve())
    unknown = sorted(set(arguments.names) - set(known))
    if unknown:
        sys.exit(f"manifests: no model for {', '.join(unknown)} in {arguments.models}: run `make setup`")
    names = arguments.names or sorted(known.keys() - {"broken"})
    if not names:
        sys.exit(f"manifests: no models in {arguments.models}: run `make setup`")
    # A JSON string is a YAML string, whatever the path holds.
    documents = [SERVICE.format(name=name, uri=json.dumps(str(known[name]))) for name in names]
    print("---\n".join(documents), end="")


if __name__ == "__main__":
    main()
