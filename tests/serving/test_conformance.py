"""What every family of models must do alike, behind both carriers: one suite for all."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from uuid import uuid4

import httpx
import pytest
from PIL import Image

from safelight.metrics.registry import parse
from safelight.models.demo.portrait import TAGS
from safelight.serving.app import Service
from safelight.stack.tools.samples import photo, sample
from tests.serving.running import client, engine

SIDE = (64, 64)


@dataclass(frozen=True)
class Family:
    """A demo of a family: what it does, where, and with what."""

    model: str
    task: str
    path: str
    namespace: str
    openai: str | None
    body: dict[str, Any]


FAMILIES = (
    Family(
        "demo-edit",
        "edit",
        "/api/edit",
        "instructpix2pix",
        "/v1/images/edits",
        {"instruction": "make him old", "steps": 2},
    ),
    Family(
        "demo-generate",
        "generate",
        "/generate",
        "zimage",
        "/v1/images/generations",
        {"prompt": "an old person with grey hair, in the city", "steps": 2},
    ),
    Family("demo-recognize", "predict", "/predict", "recognition", None, {"top": 3}),
)


@dataclass(frozen=True)
class Served:
    """A service of a family, and how to ask it."""

    family: Family
    service: Service
    speaking: httpx.AsyncClient

    async def ask(self, **more: Any) -> httpx.Response:
        """Send what the family understands; `headers` into the head, the rest into the query."""
        headers, content = more.pop("headers", {}), None
        if self.family.task != "generate":
            headers, content = {"content-type": "image/jpeg", **headers}, photo(*SIDE)
        params = {**self.family.body, **more}
        return await self.speaking.post(
            self.family.path, params=params, content=content, headers=headers
        )

    async def metrics(self) -> dict[str, float]:
        """Return the sum over the series of each name."""
        found: dict[str, float] = {}
        for (name, _), value in parse((await self.speaking.get("/metrics")).text).items():
            found[name] = found.get(name, 0.0) + value
        return found


@asynccontextmanager
async def served(family: Family, isolation: str) -> AsyncIterator[Served]:
    chosen: dict[str, Any] = {
        "model": family.model,
        "namespace": family.namespace,
        "isolation": isolation,
    }
    async with engine(**chosen, devices="cpu") as service, client(service) as speaking:
        yield Served(family, service, speaking)


@pytest.mark.parametrize("isolation", ["process", "thread"])
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.task)
def test_every_family_follows_the_common_rules(family: Family, isolation: str) -> None:
    async def scenario() -> None:
        async with served(family, isolation) as running:
            for law in LAWS:
                await law(running)

    asyncio.run(asyncio.wait_for(scenario(), 120))


async def it_tells_what_it_is(running: Served) -> None:
    [model] = (await running.speaking.get("/v1/models")).json()["data"]
    assert (model["id"], model["task"]) == (running.family.model, running.family.task)
    assert model["path"] == running.family.path
    assert model["namespace"] == running.family.namespace
    assert {"steps", "side_pixels", "text_characters", "body_bytes"} <= model["limits"].keys()


async def it_answers(running: Served) -> None:
    answer = await running.ask()
    assert answer.status_code == 200, answer.text
    if running.family.task == "predict":
        assert {each["label"] for each in answer.json()["labels"]} <= set(TAGS)
    else:
        assert Image.open(BytesIO(answer.content)).size == SIDE
    assert "denoise" in answer.headers["server-timing"] or running.family.task == "predict"


async def its_samples_are_answered(running: Served) -> None:
    sent = sample(running.family.task, instruction="add a hat", size=SIDE, seed=3, steps=2)
    answer = await running.speaking.post(
        sent.path, params=sent.params, content=sent.content, json=sent.json, headers=sent.headers
    )
    assert answer.status_code == 200, answer.text


async def it_counts_under_its_own_namespace(running: Served) -> None:
    before = await running.metrics()
    await running.ask()
    after = await running.metrics()
    name = f"{running.family.namespace}_request_duration_seconds_count"
    assert after[name] == before[name] + 1
    assert after[f"{running.family.namespace}_model_info"] == 1
    assert after[f"{running.family.namespace}_model_weights_bytes"] > 1_000_000
    assert after[f"{running.family.namespace}_model_warm_up_seconds"] > 0


async def the_same_seed_is_the_same_answer(running: Served) -> None:
    if running.family.task == "predict":
        first, again = [(await running.ask()).json()["labels"] for _ in range(2)]
        assert first == again
        return
    first_made, again_made, other = [(await running.ask(seed=s)).content for s in (1, 1, 2)]
    assert first_made == again_made != other


async def several_at_once_are_all_answered(running: Served) -> None:
    answers = await asyncio.gather(*(running.ask() for _ in range(6)))
    assert [answer.status_code for answer in answers] == [200] * 6


async def what_it_cannot_do_is_told(running: Served) -> None:
    for other in FAMILIES:
        if other is running.family:
            continue
        answer = await Served(other, running.service, running.speaking).ask()
        assert (answer.status_code, answer.json()["reason"]) == (404, "unsupported_task")
        assert running.family.path in answer.json()["detail"]


async def a_parameter_that_is_none_is_told(running: Served) -> None:
    answer = await running.ask(colour="blue")
    assert (answer.status_code, answer.json()["reason"]) == (422, "invalid_parameter")
    assert "colour is not a parameter" in answer.json()["detail"]


async def steps_are_bounded(running: Served) -> None:
    if running.family.task == "predict":
        return
    for steps in (0, 10_000):
        answer = await running.ask(steps=steps)
        assert (answer.status_code, answer.json()["reason"]) == (422, "invalid_parameter"), steps


async def a_caller_who_waits_too_short_is_told(running: Served) -> None:
    answer = await running.ask(headers={"x-request-timeout": "0.000001"})
    assert answer.json()["reason"] in ("timeout", "overloaded", "too_late"), answer.text


async def it_can_be_followed_and_cancelled_by_its_id(running: Served) -> None:
    known = str(uuid4())
    answer = await running.ask(headers={"x-request-id": known})
    assert answer.headers["x-request-id"] == known
    gone = await running.speaking.delete(f"/v1/requests/{known}")
    assert gone.status_code == 404  # it is over


async def a_prompt_that_is_cut_off_is_told_and_counted(running: Served) -> None:
    if running.family.task == "predict":
        return
    name = f"{running.family.namespace}_prompt_truncated_total"
    before = (await running.metrics())[name]
    text = "instruction" if running.family.task == "edit" else "prompt"
    assert "x-safelight-prompt-truncated" not in (await running.ask()).headers
    answer = await running.ask(**{text: "ξ" * 600}, headers={"accept": "application/json"})
    assert answer.headers["x-safelight-prompt-truncated"] == "true"
    assert answer.json()["prompt_truncated"] is True
    assert (await running.metrics())[name] == before + 1


async def sides_that_are_no_multiple_of_eight_are_told_or_rounded(running: Served) -> None:
    if running.family.task == "generate":
        for width, said in ((60, "multiple of 8"), (72, "needs multiples of 16. Use 64")):
            answer = await running.ask(width=width)
            assert (answer.status_code, answer.json()["reason"]) == (422, "invalid_parameter")
            assert said in answer.json()["detail"]
    if running.family.task == "edit":
        answer = await running.speaking.post(
            "/api/edit",
            params=running.family.body,
            content=photo(63, 45),
            headers={"content-type": "image/jpeg"},
        )
        assert Image.open(BytesIO(answer.content)).size == (63, 45)


async def openais_form_is_understood(running: Served) -> None:
    if running.family.openai is None:
        return
    text = running.family.body.get("prompt", "make him old")
    form = {"prompt": text, "steps": "2"}
    files = {"image": ("p.jpg", photo(*SIDE), "image/jpeg")}
    sent: dict[str, Any] = {"data": form, "files": files}
    if running.family.task == "generate":
        sent = {"json": form}
    answer = await running.speaking.post(running.family.openai, **sent)
    assert answer.status_code == 200, answer.text
    assert answer.json()["data"][0]["b64_json"]


LAWS = (
    it_tells_what_it_is,
    it_answers,
    its_samples_are_answered,
    it_counts_under_its_own_namespace,
    the_same_seed_is_the_same_answer,
    several_at_once_are_all_answered,
    what_it_cannot_do_is_told,
    a_parameter_that_is_none_is_told,
    steps_are_bounded,
    a_caller_who_waits_too_short_is_told,
    it_can_be_followed_and_cancelled_by_its_id,
    openais_form_is_understood,
    a_prompt_that_is_cut_off_is_told_and_counted,
    sides_that_are_no_multiple_of_eight_are_told_or_rounded,
)
