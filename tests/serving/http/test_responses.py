"""What the API says of its answers, held to what it really answers."""

import re
from typing import Any

import httpx
import jsonschema
import pytest

from safelight.serving.app import Service
from safelight.serving.http.keys import hashed
from tests.serving.http.test_advice import BUSY
from tests.serving.jobs import PICTURE
from tests.serving.running import client, edit, with_engine

KEY = {"authorization": "Bearer sl-alice"}
_OF_HTTP = {"content-type", "content-length"}
Spec = dict[str, Any]


def described(spec: Spec, answer: httpx.Response) -> Spec:
    """Return what is said of an answer's route and status."""
    path, method = answer.request.url.path, answer.request.method.lower()
    for template, operations in spec["paths"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path) and method in operations:
            responses: Spec = operations[method]["responses"]
            assert str(answer.status_code) in responses, f"{method} {path} {answer.text[:200]}"
            found: Spec = responses[str(answer.status_code)]
            return found
    pytest.fail(f"{method} {path} is not described")


def held(spec: Spec, answer: httpx.Response) -> set[str]:
    """Hold an answer to its description; return the headers that it has."""
    said = described(spec, answer)
    kind = answer.headers["content-type"].partition(";")[0]
    assert kind in said["content"], f"{answer.request.url} {answer.status_code} {kind}"
    shape = said["content"][kind].get("schema")
    if shape and kind.endswith("json"):
        jsonschema.validate(answer.json(), {**shape, "components": spec["components"]})
        assert set(answer.json()) <= set(shape.get("properties", answer.json()))
    headers = {name for name in answer.headers if name not in _OF_HTTP}
    assert headers <= {name.lower() for name in said.get("headers", {})}, answer.request.url
    return headers


async def served(speaking: httpx.AsyncClient) -> list[httpx.Response]:
    """Return answers of the routes to the model, good ones and bad ones."""
    form: dict[str, Any] = {"data": {"prompt": "make him old"}, "headers": KEY}
    in_json = {**KEY, "accept": "application/json"}
    slow = {**KEY, "x-request-timeout": "0.05"}
    return [
        await edit(speaking, "long make him old", picture=BUSY, steps=20, headers=KEY),
        await edit(speaking, "long make him old", picture=BUSY, steps=20, headers=in_json),
        await edit(speaking),
        await edit(speaking, picture=b"", headers=KEY),
        await edit(speaking, picture=b"no picture", headers=KEY),
        await edit(speaking, picture=PICTURE + bytes(70_000), headers=KEY),
        await edit(speaking, headers={**KEY, "content-type": "text/plain"}),
        await edit(speaking, "nan", headers=KEY),
        await edit(speaking, "raise", headers=KEY),
        await edit(speaking, "slowly", headers=slow, steps=12),
        await speaking.post("/predict", content=PICTURE, headers=KEY),
        await speaking.post("/generate", json={"prompt": "a cat"}, headers=KEY),
        await speaking.post("/v1/images/edits", files={"image": BUSY}, **form),
        await speaking.post("/v1/images/edits", files={"image": b"no picture"}, **form),
        await speaking.post("/v1/images/generations", json={"prompt": "a cat"}, headers=KEY),
        await speaking.post("/v1/images/generations", json={"prompt": "a cat"}),
    ]


async def around(speaking: httpx.AsyncClient, made: str) -> list[httpx.Response]:
    """Return answers of the routes about requests."""
    rate, record = f"/v1/requests/{made}/rating", f"/v1/requests/{made}/record"
    several = [await speaking.post(rate, json={"rating": 4}, headers=KEY) for _ in range(30)]
    assert several[-1].status_code == 429
    return [
        *several[:1],
        several[-1],
        await speaking.post(rate, json={"rating": 9}),
        await speaking.delete(record),
        await speaking.delete(record, headers=KEY),
        await speaking.get(f"/v1/requests/{made}/events"),
        await speaking.delete(f"/v1/requests/{made}", headers=KEY),
        await speaking.get("/v1/images/none", headers=KEY),
        await speaking.get("/readyz"),
    ]


def test_every_response_matches_openapi_and_every_documented_header_is_sent() -> None:
    async def scenario(service: Service) -> None:
        async with client(service) as speaking:
            spec = (await speaking.get("/openapi.json")).json()
            assert "HTTPValidationError" not in str(spec), "FastAPI's own, which nobody answers"
            answers = await served(speaking)
            said = described(spec, answers[0])["headers"]
            assert held(spec, answers[0]) == {name.lower() for name in said}
            answers += await around(speaking, answers[0].headers["x-request-id"])
        for answer in answers:
            held(spec, answer)
        assert {answer.status_code for answer in answers} == {
            200,
            400,
            401,
            404,
            413,
            415,
            422,
            429,
            500,
            502,
            504,
        }

    with_engine(
        scenario,
        api_keys=f"alice={hashed('sl-alice')}",
        rate_limit_per_minute=120,
        structure_floor=0.1,
        degradation_level=3,
        body_limit_bytes=65_536,
    )
