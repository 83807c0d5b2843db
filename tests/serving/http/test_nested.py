"""Deeply nested JSON: a value with a thousand levels is the caller's mistake, on every route."""

import pytest

from tests.serving.running import client, engine

pytestmark = pytest.mark.anyio
LEVELS = 990  # the parser itself refuses 1 024
NAMES = ("image", "instruction", "prompt", "size", "n", "steps", "seed", "guidance_scale", "top")
PATHS = (
    "/api/edit",
    "/api/edit/check",
    "/generate",
    "/predict",
    "/v1/images/edits",
    "/v1/images/generations",
    "/v1/requests/6f2b8f8e-9a0c-4f0e-8f5e-0c8a5a0d9b11/rating",
)


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
async def test_no_depth_of_json_is_an_internal_error(opening: str, closing: str) -> None:
    async with engine() as service, client(service) as speaking:
        for path in PATHS:
            for name in NAMES:
                body = f'{{"{name}":{opening * LEVELS}1{closing * LEVELS}}}'
                headers = {"content-type": "application/json"}
                answer = await speaking.post(path, content=body, headers=headers)
                assert 400 <= answer.status_code < 500, (path, name, answer.text)


async def test_the_page_documents_the_fields_that_the_openai_routes_accept() -> None:
    async with engine() as service, client(service) as speaking:
        page = (await speaking.get("/openapi.json")).json()
    for path in ("/v1/images/generations", "/v1/images/edits"):
        content = page["paths"][path]["post"]["requestBody"]["content"]
        fields = content["application/json"]["schema"]["properties"]
        assert {"prompt", "n", "size", "response_format", "steps", "seed"} <= set(fields)
        assert not {"width", "height", "instruction"} & set(fields)


async def test_the_page_documents_the_bounds_of_the_timeout() -> None:
    async with engine() as service, client(service) as speaking:
        page = (await speaking.get("/openapi.json")).json()
    parameters = page["paths"]["/api/edit"]["post"]["parameters"]
    [timeout] = [each for each in parameters if each["name"] == "X-Request-Timeout"]
    assert timeout["schema"] == {"type": "number", "exclusiveMinimum": 0, "maximum": 3600}
