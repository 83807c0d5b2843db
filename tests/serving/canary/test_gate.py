"""Who serves while a model is broken: workers, and instances that ask each other."""

import asyncio
from collections.abc import Sequence

import httpx
import uvicorn

from safelight.guard.fitness import Other
from safelight.guard.verdicts import Deep, State
from safelight.serving.app import Service
from safelight.serving.canary.gate import Gate
from safelight.stories.replay import free_port
from tests.serving.running import client, edit, engine, eventually

WRONG, GOOD = Deep(State.WRONG, "its output differs"), Deep(State.GOOD)


class Instances:
    """The other instances, as a gate sees them; a test changes them."""

    def __init__(self, *others: Other) -> None:
        self.now: Sequence[Other] = others
        self.asked = 0

    async def __call__(self) -> Sequence[Other]:
        self.asked += 1
        return self.now


def break_(service: Service, place: int = 0) -> None:
    for _ in range(2):
        service.canary.checks[place].health.ran(WRONG)


def heal(service: Service, place: int = 0) -> None:
    for _ in range(3):
        service.canary.checks[place].health.ran(GOOD)


async def rounds(gate: Gate, service: Service, number: int = 2) -> None:
    for _ in range(number):
        await gate.update(service.canary.checks)


async def test_a_broken_worker_gets_no_requests_while_another_serves() -> None:
    async with engine(devices="cpu,cpu") as service, client(service) as speaking:
        await eventually(lambda: service.pool.ready_count() == 2)
        gate = Gate("own", Instances(), active=True)
        break_(service, 1)
        service.canary.checks[1].was_replaced = True  # not now
        await rounds(gate, service)
        assert [worker.is_out for worker in service.pool.workers] == [False, True]
        answers = await asyncio.gather(*(edit(speaking, seed=n) for n in range(8)))
        assert {answer.status_code for answer in answers} == {200}
        assert service.pool.workers[1].is_idle
        heal(service, 1)
        await rounds(gate, service)
        assert not service.pool.workers[1].is_out
        assert (gate.is_out, gate.is_forced) == (False, False)


async def test_a_wrong_worker_that_is_out_loads_its_model_again_once() -> None:
    async with engine(devices="cpu,cpu") as service:
        await eventually(lambda: service.pool.ready_count() == 2)
        gate = Gate("own", Instances(), active=True)
        break_(service, 1)
        before = service.pool.workers[1].info
        await rounds(gate, service)
        await eventually(lambda: service.pool.workers[1].info is not before)
        again = service.pool.workers[1].info
        await rounds(gate, service, 5)
        assert service.pool.workers[1].info is again
        assert service.pool.workers[1].is_out, "it must first prove itself"


async def test_the_last_instance_never_leaves_and_says_so() -> None:
    async with engine() as service, client(service) as speaking:
        gate = service.canary.gate
        break_(service)
        await rounds(gate, service)
        assert gate.is_forced
        assert not gate.is_out
        assert (await speaking.get("/readyz")).status_code == 200
        assert (await edit(speaking)).status_code == 200
        heal(service)
        await rounds(gate, service)
        assert not gate.is_forced


async def test_an_instance_leaves_while_another_is_ready_and_returns_when_that_one_goes() -> None:
    async with engine() as service, client(service) as speaking:
        others = Instances(Other("other", leaving=False))
        service.canary.gate = gate = Gate("own", others, active=True)
        service.canary.checks[0].was_replaced = True
        break_(service)
        await rounds(gate, service)
        refusal = await speaking.get("/readyz")
        assert refusal.status_code == 503
        assert "the model is broken" in refusal.json()["detail"]
        assert (await edit(speaking)).status_code == 200, "callers who still come are served"
        others.now = ()
        await rounds(gate, service, 5)
        assert (await speaking.get("/readyz")).status_code == 200
        assert gate.is_forced


async def test_with_the_gate_off_a_broken_model_only_raises_an_alert() -> None:
    async with engine() as service:
        gate = Gate("own", Instances(Other("other", leaving=False)), active=False)
        break_(service)
        await rounds(gate, service)
        assert (gate.is_out, gate.is_forced, gate.is_leaving) == (False, False, False)


async def test_a_slow_model_stays_in_service() -> None:
    async with engine() as service:
        gate = Gate("own", Instances(Other("other", leaving=False)), active=True)
        for _ in range(5):
            service.canary.checks[0].health.ran(Deep(State.SLOW))
        await rounds(gate, service)
        assert (gate.is_out, gate.is_leaving) == (False, False)


async def test_of_two_real_instances_with_broken_models_one_stays_ready() -> None:
    ports = free_port(), free_port()
    peers = ",".join(f"http://127.0.0.1:{port}" for port in ports)
    async with engine(peers=peers) as one, engine(peers=peers) as two:
        services = (one, two)
        for service in services:
            service.canary.checks[0].was_replaced = True  # not now
        servers = [await _listening(*pair) for pair in zip(services, ports, strict=True)]
        break_(one)
        await _agree(services)
        assert await _ready(ports) == [503, 200]
        break_(two)
        await _agree(services)
        assert sorted(await _ready(ports)) == [200, 503]
        assert [service.canary.gate.is_forced for service in services].count(True) == 1
        heal(one)
        await _agree(services)
        assert await _ready(ports) == [200, 503]
        for server, task in servers:
            server.should_exit = True
            await task


async def _agree(services: Sequence[Service]) -> None:
    """Let each instance decide often enough to ask the others twice."""
    for _ in range(12):
        for service in services:
            await service.canary.gate.update(service.canary.checks)


async def _listening(service: Service, port: int) -> tuple[uvicorn.Server, "asyncio.Task[None]"]:
    config = uvicorn.Config(service.app, "127.0.0.1", port, lifespan="off", log_level="error")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    await eventually(lambda: server.started)
    return server, task


async def _ready(ports: Sequence[int]) -> list[int]:
    """Return the status of each instance's /readyz."""
    async with httpx.AsyncClient() as asking:
        answers = [await asking.get(f"http://127.0.0.1:{port}/readyz") for port in ports]
    return [answer.status_code for answer in answers]


async def test_a_broken_model_that_sleeps_is_not_judged_so_that_a_request_can_wake_it() -> None:
    async with engine() as service, client(service) as speaking:
        service.canary.gate = gate = Gate("own", Instances(Other("b", leaving=False)), active=True)
        service.canary.checks[0].was_replaced = True
        break_(service)
        await rounds(gate, service)
        assert (await speaking.get("/readyz")).status_code == 503
        await speaking.post("/v1/model/sleep")
        await gate.update(service.canary.checks, asleep=service.pool.is_stopping)
        assert (await speaking.get("/readyz")).json()["status"] == "asleep"
        assert (await edit(speaking)).status_code == 200


async def test_while_a_broken_instance_loads_its_model_again_it_stays_out() -> None:
    async with engine() as service:
        gate = Gate("own", Instances(Other("b", leaving=False)), active=True)
        break_(service)
        await rounds(gate, service)
        assert gate.is_out
        service.pool.workers[0].ready = False
        await rounds(gate, service)
        assert gate.is_out
