"""A model server in plain Python, without a package: KServe's V1 protocol on http.server.

It listens where PORT says, as a container's process does. Its model is a sum of each row.
"""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAME = os.environ.get("MODEL_NAME", "sum")


def predict(instances):
    return [sum(row) for row in instances]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self):
        if self.path == f"/v1/models/{NAME}":
            self.answer(200, {"name": NAME, "ready": True})
        else:
            self.answer(404, {"error": f"there is no {self.path}"})

    def do_POST(self):
        body = self.read()
        if self.path != f"/v1/models/{NAME}:predict":
            return self.answer(404, {"error": f"there is no {self.path}"})
        try:
            predictions = predict(json.loads(body)["instances"])
        except (ValueError, KeyError, TypeError) as error:
            return self.answer(400, {"error": f"instances must be rows of numbers: {error}"})
        self.answer(200, {"predictions": predictions})

    def read(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while length := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(length)
            self.rfile.readline()
        self.rfile.readline()
        return body


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
