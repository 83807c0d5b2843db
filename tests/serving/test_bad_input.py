"""Everything a caller can get wrong: a 4xx problem document, a counted reason, and life goes on."""

import socket
import struct
import zlib
from base64 import b64encode
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from safelight.errors import MalformedBody
from safelight.serving.http.body import _parse_form
from safelight.stack.tools.samples import photo
from tests.serving.conftest import RealService, until

JPEG = {"content-type": "image/jpeg"}
JSON = {"content-type": "application/json"}
GOOD = photo(64, 64)
ENCODED = b64encode(GOOD).decode()


def chunk(kind: bytes, content: bytes) -> bytes:
    """Return a chunk of a PNG."""
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def png_of(width: int, height: int) -> bytes:
    """Return a PNG that claims a size, and has hardly a pixel."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"nothing")


def bomb() -> bytes:
    """Return a small PNG of 8 000 x 8 000 pixels of one colour."""
    buffer = BytesIO()
    Image.new("1", (8000, 8000)).save(buffer, "PNG")
    return buffer.getvalue()


@dataclass(frozen=True)
class Bad:
    """One bad request, and what must be said of it."""

    name: str
    status: int
    reason: str
    says: str
    content: bytes = GOOD
    headers: dict[str, str] = field(default_factory=lambda: JPEG)
    params: dict[str, Any] = field(default_factory=lambda: {"instruction": "make him old"})


def asking(**params: Any) -> dict[str, Any]:
    return {"instruction": "make him old", **params}


CASES = [
    Bad("text instead of an image", 422, "not_an_image", "JPEG, PNG, WebP", b"hello " * 50),
    Bad("an empty GIF", 422, "image_damaged", "damaged", b"GIF89a" + bytes(100)),
    Bad("a PDF", 415, "unsupported_media_type", "a PDF file", b"%PDF-1.7 " + bytes(100)),
    Bad("a truncated JPEG", 422, "image_damaged", "truncated", photo(200, 200)[:-4000]),
    Bad("a truncated header", 422, "image_damaged", "truncated", photo(200, 200)[:8]),
    Bad("zero bytes", 400, "bad_request", "missing or empty", b""),
    Bad("a decompression bomb", 413, "image_too_large", "8000 x 8000", bomb()),
    Bad("20 000 x 20 000 pixels", 413, "image_too_large", "4000000", png_of(20000, 20000)),
    Bad("a huge claim", 422, "image_too_costly", "at most 20000", png_of(2**31 - 1, 2**31 - 1)),
    Bad("a PNG of nothing", 422, "image_damaged", "damaged", png_of(64, 64)),
    Bad("a 50 MB body", 413, "body_too_large", "2097152 bytes", bytes(50 * 1024 * 1024)),
    Bad("a sliver", 422, "invalid_parameter", "at least 32", photo(2000, 40)),
    Bad("no content type", 415, "unsupported_media_type", "image/jpeg", headers={}),
    Bad(
        "a long content type",
        415,
        "unsupported_media_type",
        "x" * 60 + "'.",
        headers={"content-type": "x" * 1000},
    ),
    Bad(
        "a wrong content type",
        415,
        "unsupported_media_type",
        "text/html",
        headers={"content-type": "text/html"},
    ),
    Bad("broken JSON", 400, "bad_request", "not valid JSON", b"{", JSON),
    Bad("a JSON list", 400, "bad_request", "must be an object", b"[]", JSON),
    Bad(
        "JSON without an image",
        400,
        "bad_request",
        "missing or empty",
        b'{"instruction": "x"}',
        JSON,
    ),
    Bad("an image that is a number", 400, "bad_request", "base64 string", b'{"image": 3}', JSON),
    Bad(
        "broken base64",
        400,
        "bad_request",
        "not valid base64",
        b'{"image": "####", "instruction": "x"}',
        JSON,
    ),
    Bad(
        "NaN in JSON",
        400,
        "bad_request",
        "not valid JSON",
        f'{{"image": "{ENCODED}", "instruction": "x", "guidance_scale": NaN}}'.encode(),
        JSON,
    ),
    Bad(
        "a form without a boundary",
        400,
        "bad_request",
        "form",
        headers={"content-type": "multipart/form-data"},
    ),
    Bad(
        "a form that is none",
        400,
        "bad_request",
        "form",
        b"what is this",
        headers={"content-type": "multipart/form-data; boundary=abc"},
    ),
    Bad("no instruction", 422, "invalid_parameter", "instruction is missing", params={}),
    Bad(
        "an empty instruction",
        422,
        "invalid_parameter",
        "instruction",
        params=asking(instruction=""),
    ),
    Bad(
        "a blank instruction",
        422,
        "invalid_parameter",
        "instruction",
        params=asking(instruction="  "),
    ),
    Bad(
        "10 000 characters",
        422,
        "invalid_parameter",
        "the limit is 1000",
        params=asking(instruction="x" * 10_000),
    ),
    Bad(
        "NaN guidance",
        422,
        "invalid_parameter",
        "guidance_scale",
        params=asking(guidance_scale="nan"),
    ),
    Bad(
        "infinite guidance",
        422,
        "invalid_parameter",
        "image_guidance_scale",
        params=asking(image_guidance_scale="inf"),
    ),
    Bad(
        "guidance out of range",
        422,
        "invalid_parameter",
        "at most 30,",
        params=asking(guidance_scale=31),
    ),
    Bad("no steps", 422, "invalid_parameter", "at least 1,", params=asking(steps=0)),
    Bad("10 000 steps", 422, "invalid_parameter", "the limit is 100", params=asking(steps=10_000)),
    Bad("steps that are no number", 422, "invalid_parameter", "steps", params=asking(steps="many")),
    Bad("a negative seed", 422, "invalid_parameter", "seed", params=asking(seed=-1)),
    Bad(
        "a thousand fields",
        400,
        "bad_request",
        "the limit is 32",
        params=asking(**{f"field{number}": 1 for number in range(1000)}),
    ),
    Bad(
        "an unknown field",
        422,
        "invalid_parameter",
        "the parameters are instruction",
        params=asking(sharpness=3),
    ),
]


@pytest.mark.parametrize("bad", CASES, ids=lambda bad: bad.name)
def test_a_bad_request_gets_its_reason_and_is_counted(service: RealService, bad: Bad) -> None:
    counted = {"error": bad.reason, "status_code": str(bad.status)}
    before = service.value("instructpix2pix_request_total", **counted)

    answer = service.client.post(
        "/api/edit", params=bad.params, content=bad.content, headers=bad.headers
    )

    problem = answer.json()
    assert (answer.status_code, problem["reason"]) == (bad.status, bad.reason)
    assert bad.says in problem["detail"]
    assert problem["status"] == bad.status
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert service.value("instructpix2pix_request_total", **counted) == before + 1
    assert service.edit().status_code == 200


@pytest.mark.parametrize("name", ["a", "a{number}"], ids=["one name", "many names"])
def test_the_parser_of_a_form_stops_after_the_last_field_that_is_allowed(name: str) -> None:
    part = '--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n\r\n'
    parts = "".join(part % name.format(number=number) for number in range(40)).encode()
    with pytest.raises(MalformedBody, match="more than 32 fields"):
        _parse_form("multipart/form-data; boundary=x", parts + b"--no part at all")


def test_forms_with_wrong_files_are_refused(service: RealService) -> None:
    image = ("a.jpg", GOOD, "image/jpeg")
    two = service.client.post(
        "/api/edit", files=[("image", image), ("image", image)], data={"instruction": "x"}
    )
    unknown = service.client.post("/api/edit", files={"mask": image}, data={"instruction": "x"})

    assert (two.status_code, two.json()["detail"]) == (
        400,
        "The form has several images; send one.",
    )
    assert unknown.status_code == 400
    assert "in the field `image`" in unknown.json()["detail"]


def test_unknown_paths_and_methods_are_problems_too(service: RealService) -> None:
    unknown = service.client.get("/nowhere")
    wrong = service.client.get("/api/edit")

    assert (unknown.status_code, unknown.json()["reason"]) == (404, "not_found")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")


def test_text_from_callers_never_becomes_a_label(service: RealService) -> None:
    service.edit(instruction="zebra crossing with wombats")
    service.client.post("/api/edit?zebra=1", content=b"zebra", headers=JPEG)
    service.client.get("/zebra")
    service.client.request("ZEBRA", "/api/edit")

    assert "zebra" not in service.client.get("/metrics").text.lower()


def _raw_request(service: RealService, body: bytes, announced: int) -> socket.socket:
    """Begin a request whose body is announced longer than what is sent."""
    host, port = service.url.removeprefix("http://").split(":")
    sock = socket.create_connection((host, int(port)), timeout=30)
    head = (
        "POST /api/edit?instruction=make+him+old HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: image/jpeg\r\nContent-Length: {announced}\r\n\r\n"
    )
    sock.sendall(head.encode() + body)
    return sock


def test_an_upload_that_breaks_off_is_the_callers_doing_and_not_a_failure_of_ours(
    service: RealService,
) -> None:
    name, counted = "instructpix2pix_request_total", {"error": "cancelled", "status_code": "499"}
    before = service.value(name, **counted)

    _raw_request(service, b"x" * 300, announced=5000).close()

    assert until(lambda: service.value(name, **counted) == before + 1, 10)
    assert service.value(name, error="internal_error") == 0
    assert service.edit().status_code == 200


def test_a_bad_image_counts_against_its_instruction(service: RealService) -> None:
    name = "instructpix2pix_request_total"
    counted = {"error": "not_an_image", "instruction_type": "add_sunglasses"}
    before = service.value(name, **counted)

    service.edit(b"no picture", instruction="add sunglasses")

    assert service.value(name, **counted) == before + 1


def test_a_wrong_method_is_no_request_of_the_model(service: RealService) -> None:
    before = service.value("instructpix2pix_request_total")

    service.client.get("/api/edit")

    assert service.value("instructpix2pix_request_total") == before
