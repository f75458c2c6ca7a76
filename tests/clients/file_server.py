"""Serves a folder for the tests, by aiohttp: ranges and conditions are its own. Each request becomes a line of JSON.

/files/PATH      the file
/private/PATH    the file, for user `user` with password `pass word`
/moved/PATH      a redirect to /files/PATH
/held/PATH       the first half of the file, and then nothing for as long as the client waits; with Range the rest
"""

import argparse
import asyncio
import base64
import json
import pathlib
import ssl

from aiohttp import web

ALLOWED = "Basic " + base64.b64encode(b"user:pass word").decode()


def tell(request: web.Request, status: int) -> None:
    asked = {name: request.headers.get(name) for name in ("Range", "If-Range", "If-None-Match")}
    print(json.dumps({"path": request.path_qs, "status": status, **asked}), flush=True)


class Files:
    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder

    def response(self, request: web.Request) -> web.FileResponse:
        return web.FileResponse(self.folder / request.match_info["path"])

    async def files(self, request: web.Request) -> web.StreamResponse:
        return self.response(request)

    async def private(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != ALLOWED:
            return web.Response(status=401)
        return self.response(request)

    async def moved(self, request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": f"/files/{request.match_info['path']}?{request.query_string}"})

    async def held(self, request: web.Request) -> web.StreamResponse:
        if "Range" in request.headers:
            return self.response(request)
        path = self.folder / request.match_info["path"]
        content, found = path.read_bytes(), path.stat()
        etag = f'"{found.st_mtime_ns:x}-{found.st_size:x}"'  # as FileResponse makes it
        response = web.StreamResponse(headers={"ETag": etag, "Content-Length": str(len(content))})
        await response.prepare(request)
        await response.write(content[: len(content) // 2])
        tell(request, 200)
        await asyncio.Event().wait()
        return response


@web.middleware
async def log(request: web.Request, handler) -> web.StreamResponse:
    response = await handler(request)
    if isinstance(response, web.FileResponse):
        # Its status is known when it is prepared.
        prepare = response.prepare

        async def prepared(request):
            writer = await prepare(request)
            tell(request, response.status)
            return writer

        response.prepare = prepared
    else:
        tell(request, response.status)
    return response


async def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("folder", type=pathlib.Path)
    arguments.add_argument("--cert")
    arguments.add_argument("--key")
    arguments = arguments.parse_args()
    files = Files(arguments.folder)
    app = web.Application(middlewares=[log])
    for name in ("files", "private", "moved", "held"):
        app.router.add_get(f"/{name}/{{path:.+}}", getattr(files, name))
    tls = None
    if arguments.cert:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(arguments.cert, arguments.key)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    print(json.dumps({"port": runner.addresses[0][1]}), flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
