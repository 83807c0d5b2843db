"""The proxies of docs/engine.md: real nginx and HAProxy with exactly its blocks."""

import asyncio
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from PIL import Image

from tests.certificates import Pair, pair
from tests.serving.conftest import RealService, serving
from tests.serving.jobs import PICTURE
from tests.serving.running import PAINTER
from tests.stack.waiting import eventually, free_ports

PAGE = (Path(__file__).parents[2] / "docs" / "engine.md").read_text()
STEPS = 100
MARGIN_SECONDS = 0.2
FOLDERS = f"{os.environ['PATH']}:/usr/sbin"
Run = Callable[[Path, Pair, int, int], tuple[str, ...]]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealService]:
    """Run one service behind all proxies."""
    with serving(tmp_path_factory.mktemp("service"), PAINTER, structure_floor="0") as running:
        yield running


def block(language: str) -> str:
    [text] = re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)
    return str(text)


def replaced(text: str, pairs: dict[str, str]) -> str:
    """Return the text with some parts replaced. Fails if the text lacks a part."""
    for old, new in pairs.items():
        assert old in text, f"the page has no {old!r}"
        text = text.replace(old, new)
    return text


def nginx(*more: tuple[str, str]) -> Run:
    """Return a function that writes nginx's configuration, and returns its command."""

    def write(folder: Path, made: Pair, port: int, service_port: int) -> tuple[str, ...]:
        own = {
            "listen 443": f"listen 127.0.0.1:{port}",
            "/etc/ssl/images.pem": str(made.certificate),
            "/etc/ssl/private/images.key": str(made.key),
            "images.example.org": "localhost",
        }
        server = replaced(replaced(block("nginx"), own), dict(more))
        server = replaced(server, {"127.0.0.1:8000": f"127.0.0.1:{service_port}"})
        paths = "".join(
            f"{name}_temp_path {folder}/{name};\n"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        file = folder / "nginx.conf"
        file.write_text(
            f"{'user root;' if os.geteuid() == 0 else ''}\ndaemon off;\npid {folder}/pid;\n"
            f"events {{}}\nhttp {{\naccess_log off;\n{paths}{server}}}\n"
        )
        return program("nginx"), "-p", str(folder), "-e", "stderr", "-c", str(file)

    return write


def haproxy(folder: Path, made: Pair, port: int, service_port: int) -> tuple[str, ...]:
    """Write HAProxy's configuration, and return its command."""
    both = folder / "both.pem"
    both.write_bytes(made.certificate.read_bytes() + made.key.read_bytes())
    own = {
        "bind :443": f"bind 127.0.0.1:{port}",
        "/etc/haproxy/images.pem": str(both),
        "127.0.0.1:8000": f"127.0.0.1:{service_port}",
    }
    file = folder / "haproxy.cfg"
    file.write_text(replaced(block("haproxy"), own))
    return program("haproxy"), "-db", "-f", str(file)


def program(name: str) -> str:
    found = shutil.which(name, path=FOLDERS)
    assert found, f"{name} is not installed: run scripts/setup"
    return found


STUDIO = nginx(
    ("location / {", "location /studio/ {"),
    ("proxy_pass http://127.0.0.1:8000;", "proxy_pass http://127.0.0.1:8000/;"),
    ('X-Forwarded-Prefix "";', "X-Forwarded-Prefix /studio;"),
)
BUFFERING = nginx(
    ("proxy_buffering off;", "proxy_buffering on;\nproxy_ignore_headers X-Accel-Buffering;")
)


@contextmanager
def behind(run: Run, service: RealService, folder: Path, path: str = "") -> Iterator[httpx.Client]:
    """Run a proxy in front of the service; return a client that speaks https to it."""
    made, port = pair(folder), free_ports(1)[0]
    command = run(folder, made, port, int(service.url.rpartition(":")[2]))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        url = f"https://localhost:{port}{path}"
        with httpx.Client(base_url=url, verify=made.known(), timeout=60) as client:

            def ready() -> bool:
                assert process.poll() is None, (folder / "log").read_text()
                try:
                    return client.get("/readyz").is_success
                except httpx.HTTPError:
                    return False

            eventually(ready, within=20, what="the proxy answers")
            yield client
    finally:
        process.terminate()
        process.wait(20)


PROXIES = pytest.mark.parametrize(
    ("run", "path"),
    [
        pytest.param(nginx(), "", id="nginx"),
        pytest.param(STUDIO, "/studio", id="nginx-below-a-path"),
        pytest.param(haproxy, "", id="haproxy"),
    ],
)


@PROXIES
def test_an_edit_and_15_megabytes_pass_and_image_urls_are_https(
    run: Run, path: str, service: RealService, tmp_path: Path
) -> None:
    with behind(run, service, tmp_path, path) as client:
        asked: dict[str, str] = {"instruction": "make him old", "steps": "2"}
        large = BytesIO()
        Image.new("RGB", (2250, 2250), "teal").save(large, "BMP")
        assert 15_000_000 < len(large.getvalue()) < 20_000_000
        for picture, kind in ((PICTURE, "image/jpeg"), (large.getvalue(), "image/bmp")):
            headers = {"content-type": kind}
            answer = client.post("/api/edit", params=asked, content=picture, headers=headers)
            assert answer.status_code == 200, answer.text
        made = client.post(
            "/v1/images/edits",
            files={"image": PICTURE},
            data={"prompt": "make him old", "steps": "1", "response_format": "url"},
            headers={"x-forwarded-prefix": "/chosen-by-the-caller"},
        )
        url = made.json()["data"][0]["url"]
        base = str(client.base_url).rstrip("/")
        assert url.startswith(f"{base}/v1/images/")
        assert client.get(url).headers["content-type"] == "image/png"


@PROXIES
def test_events_arrive_while_the_request_runs(
    run: Run, path: str, service: RealService, tmp_path: Path
) -> None:
    with behind(run, service, tmp_path, path) as client:
        assert len(steps_seen(client, service)) > STEPS / 4


def test_the_check_of_events_notices_a_proxy_that_buffers(
    service: RealService, tmp_path: Path
) -> None:
    with behind(BUFFERING, service, tmp_path) as client:
        assert steps_seen(client, service) == []


def steps_seen(client: httpx.Client, service: RealService) -> list[int]:
    """Return the steps whose events arrived well before the request ended."""

    async def scenario() -> list[int]:
        name, seen = str(uuid4()), list[tuple[float, int]]()
        async with httpx.AsyncClient(base_url=service.url, timeout=60) as direct:
            sent = asyncio.create_task(
                direct.post(
                    "/api/edit",
                    params={"instruction": "slowly", "steps": STEPS},
                    content=PICTURE,
                    headers={"x-request-id": name, "content-type": "image/jpeg"},
                )
            )
            follow = asyncio.create_task(asyncio.to_thread(read, client, name, seen))
            assert (await sent).status_code == 200
            ended = time.monotonic()
            await follow
        return [step for at, step in seen if at < ended - MARGIN_SECONDS]

    return asyncio.run(scenario())


def read(client: httpx.Client, name: str, seen: list[tuple[float, int]]) -> None:
    with client.stream("GET", f"/v1/requests/{name}/events") as stream:
        assert stream.status_code == 200
        for line in stream.iter_lines():
            if step := re.search(r'"step":(\d+)', line):
                seen.append((time.monotonic(), int(step[1])))


@PROXIES
def test_the_proxy_reports_the_address_of_its_caller(run: Run, path: str, tmp_path: Path) -> None:
    # From 127.0.0.1 a caller has used up its rate; one from 127.0.0.2 has not.
    (tmp_path / "service").mkdir()
    with (
        serving(
            tmp_path / "service", PAINTER, structure_floor="0", rate_limit_per_minute="6"
        ) as limited,
        behind(run, limited, tmp_path, path) as client,
    ):

        def status(address: str, forged: str) -> int:
            known = Pair(tmp_path / "server.crt", tmp_path / "server.key").known()
            transport = httpx.HTTPTransport(verify=known, local_address=address)
            with httpx.Client(transport=transport, base_url=client.base_url, timeout=60) as own:
                headers = {"content-type": "image/jpeg", "x-forwarded-for": forged}
                asked: dict[str, str] = {"instruction": "make him old", "steps": "1"}
                return own.post(
                    "/api/edit", params=asked, content=PICTURE, headers=headers
                ).status_code

        assert status("127.0.0.1", "203.0.113.1") == 200
        assert status("127.0.0.1", "203.0.113.2") == 429
        assert status("127.0.0.2", "203.0.113.3") == 200
