"""Two small watched services, for the real servers that `test_servers.py` starts."""

import hashlib
import os

from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from flask import Flask, request
from flask import Response as FlaskResponse

import safelight

PARTS = 400

plain = Flask("plain")
plain.config["MAX_CONTENT_LENGTH"] = 16 << 20
fast = FastAPI()


def digest(body: bytes) -> str:
    """Return the length and the hash of a body."""
    return f"{len(body)} {hashlib.sha256(body).hexdigest()}"


@plain.post("/raw")
def raw() -> str:
    return digest(request.get_data())


@plain.post("/lines")
def read_in_lines() -> str:
    return digest(b"".join(request.stream))


@plain.post("/form")
def form() -> str:
    return digest(request.form["text"].encode())


@plain.post("/upload")
def upload() -> str:
    return digest(request.files["image"].read())


@plain.get("/stream")
def stream() -> FlaskResponse:
    return FlaskResponse((b"x" * 65536 for _ in range(PARTS)), mimetype="text/plain")


@plain.get("/pid")
def pid() -> str:
    return str(os.getpid())


@fast.post("/raw")
async def raw_async(request: Request) -> Response:
    return Response(digest(await request.body()))


@fast.post("/lines")
async def read_in_parts(request: Request) -> Response:
    return Response(digest(b"".join([part async for part in request.stream()])))


@fast.post("/form")
async def form_async(request: Request) -> Response:
    return Response(digest(str((await request.form())["text"]).encode()))


@fast.post("/upload")
async def upload_async(request: Request) -> Response:
    image = (await request.form())["image"]
    return Response(digest(await image.read()))  # type: ignore[union-attr]


@fast.get("/stream")
def stream_sync() -> StreamingResponse:
    return StreamingResponse(b"x" * 65536 for _ in range(PARTS))


@fast.get("/pid")
def pid_sync() -> Response:
    return Response(str(os.getpid()))


WATCHES = [safelight.watch(app=plain), safelight.watch(app=fast)]
