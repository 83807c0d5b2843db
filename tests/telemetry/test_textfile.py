"""A script leaves its counts to a real node-exporter."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from safelight import watch
from safelight.errors import BadSetting
from safelight.metrics.catalog import (
    GPU_ENERGY,
    HOST_MEMORY_TOTAL,
    IN_FLIGHT,
    REQUEST_SECONDS,
    REQUESTS,
    STEP_SECONDS,
)
from safelight.metrics.registry import Samples, parse, where
from safelight.telemetry.textfile import Textfile
from tests.asking import HTTP
from tests.pipelines import draw
from tests.stack.waiting import eventually, free_ports

ROOT = Path(__file__).parents[2]
SCRIPT = """
import safelight
from tests.pipelines import STEPS, edit_pipeline, edit

pipe = edit_pipeline()
watched = safelight.watch(pipeline=pipe)
watched.write_textfile("{file}")
for prompt in ("a red hat", "a blue hat"):
    edit(pipe, prompt)
{ends}
"""


@contextmanager
def node_exporter(folder: Path) -> Iterator[str]:
    """Run node-exporter with its textfile collector alone; yield the address of its page."""
    [port] = free_ports(1)
    command = [
        "prometheus-node-exporter",
        "--collector.disable-defaults",
        "--collector.textfile",
        f"--collector.textfile.directory={folder}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    url = f"http://127.0.0.1:{port}/metrics"
    with subprocess.Popen(command) as process:
        try:
            eventually(lambda: answers(url), within=30, what="node-exporter answers")
            yield url
        finally:
            process.terminate()
            process.wait(30)


def answers(url: str) -> bool:
    try:
        return HTTP.get(url, timeout=2).is_success
    except httpx.TransportError:
        return False


def shown(url: str) -> Samples:
    return parse(HTTP.get(url, timeout=10).raise_for_status().text)


def counted(samples: Samples, name: str, **labels: str) -> float:
    return sum(value for _, value in where(samples, name, **labels))


def run_script(folder: Path, name: str, ends: str = "") -> None:
    program = folder / f"{name}.py"
    file = folder / "textfiles" / f"{name}.prom"
    program.write_text(SCRIPT.format(file=file, ends=ends))
    done = subprocess.run(
        [sys.executable, program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == (1 if "raise" in ends else 0), done.stderr


def test_node_exporter_shows_the_counts_of_scripts_that_have_ended(tmp_path: Path) -> None:
    folder = tmp_path / "textfiles"
    folder.mkdir()
    run_script(tmp_path, "nightly")
    run_script(tmp_path, "weekly", ends="raise SystemExit(1)")
    with node_exporter(folder) as url:
        samples = shown(url)

    requests = REQUESTS.full_name("instructpix2pix")
    assert counted(samples, "node_textfile_scrape_error") == 0
    assert counted(samples, requests, script="nightly") == 2
    assert counted(samples, requests, script="weekly") == 2
    steps = f"{STEP_SECONDS.full_name('instructpix2pix')}_count"
    assert counted(samples, steps, script="nightly") == 6
    assert len([key for key in samples if key[0] == "node_textfile_mtime_seconds"]) == 2


def test_the_file_has_no_gauge_nothing_of_the_machine_and_can_be_read_by_all(
    tmp_path: Path, text_pipe: Any
) -> None:
    file = tmp_path / "nightly.prom"
    with watch(pipeline=text_pipe) as watched:
        watched.meter.set(HOST_MEMORY_TOTAL, value=1)
        watched.meter.add(GPU_ENERGY, "0", amount=1)
        watched.write_textfile(file)
        before = parse(file.read_text())
        draw(text_pipe)
    text = file.read_text()
    after = parse(text)

    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert os.listdir(tmp_path) == ["nightly.prom"]
    assert "# {" not in text
    name = REQUESTS.full_name("diffusion")
    assert (counted(before, name), counted(after, name)) == (0, 1)
    assert counted(after, f"{REQUEST_SECONDS.full_name('diffusion')}_count", script="nightly") == 1
    left_out = (HOST_MEMORY_TOTAL.name, GPU_ENERGY.name, IN_FLIGHT.full_name("diffusion"))
    assert not [key for key in after if key[0].startswith((*left_out, "process_"))]


def test_a_file_is_written_again_at_each_call(tmp_path: Path, text_pipe: Any) -> None:
    file = tmp_path / "nightly.prom"
    with watch(pipeline=text_pipe) as watched:
        for number in range(3):
            watched.write_textfile(file)
            found = counted(parse(file.read_text()), REQUESTS.full_name("diffusion"))
            assert found == number
            draw(text_pipe)
        assert len(watched._textfiles) == 1
        ends = [getattr(each, "__self__", None) for each in watched._undo]
        assert sum(isinstance(each, Textfile) for each in ends) == 1


@pytest.mark.parametrize("name", ["nightly.txt", "a b.prom", ".prom", "x" * 61 + ".prom", "é.prom"])
def test_a_name_that_is_no_label_or_is_not_read_is_refused(name: str, tmp_path: Path) -> None:
    with watch(app=FastAPI()) as watched, pytest.raises(BadSetting, match=r"nightly\.prom"):
        watched.write_textfile(tmp_path / name)
    assert os.listdir(tmp_path) == []


def test_a_missing_folder_is_an_error_at_once_and_a_log_line_at_the_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "folder"
    with watch(app=FastAPI()) as watched:
        with pytest.raises(FileNotFoundError):
            watched.write_textfile(folder / "nightly.prom")
        folder.mkdir()
        watched.write_textfile(folder / "nightly.prom")
        (folder / "nightly.prom").unlink()
        folder.rmdir()
    assert [each.message for each in caplog.records if each.name == Textfile.__module__] == [
        f"The counts were not written to {folder / 'nightly.prom'}."
    ]


def test_a_path_that_cannot_be_written_is_told_only_at_the_call(tmp_path: Path) -> None:
    program = tmp_path / "script.py"
    program.write_text(
        "import safelight\nfrom fastapi import FastAPI\n"
        "watched = safelight.watch(app=FastAPI())\n"
        f"try:\n    watched.write_textfile({str(tmp_path / 'folder' / 'nightly.prom')!r})\n"
        "except FileNotFoundError:\n    print('told')\n"
    )
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("told\n", "")


def test_a_forked_process_that_ends_last_leaves_the_file_to_its_parent(tmp_path: Path) -> None:
    (tmp_path / "textfiles").mkdir()
    ends = (  # the child goes on when the parent process has ended
        "import os\nreads, writes = os.pipe()\n"
        "if os.fork() == 0:\n    os.close(writes)\n    os.read(reads, 1)\n"
    )
    run_script(tmp_path, "nightly", ends)  # waits for both: the child has the same outputs
    text = (tmp_path / "textfiles" / "nightly.prom").read_text()
    assert counted(parse(text), REQUESTS.full_name("instructpix2pix")) == 2


def test_threads_write_the_file_at_once(tmp_path: Path) -> None:
    file = tmp_path / "nightly.prom"
    with watch(app=FastAPI()) as watched, ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: watched.write_textfile(file), range(100)))
    assert os.listdir(tmp_path) == ["nightly.prom"]


def test_a_link_in_the_folder_is_not_followed(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("precious")
    for name in (f".nightly.prom.{os.getpid()}", "nightly.prom"):
        (tmp_path / name).symlink_to(other)
    with watch(app=FastAPI()) as watched:
        watched.write_textfile(tmp_path / "nightly.prom")
    assert other.read_text() == "precious"
    assert not (tmp_path / "nightly.prom").is_symlink()
