"""`safelight down`, with a real `safelight up` that was killed or still runs."""

import signal
from pathlib import Path

import psutil
import pytest

from tests.cli.conftest import Call
from tests.cli.running import started
from tests.cli.test_up import elsewhere
from tests.serving.running import PAINTER
from tests.stack.waiting import all_gone, eventually


def test_nothing_to_stop_is_no_error(call: Call, tmp_path: Path) -> None:
    stopped = call("down", "--state-folder", str(tmp_path))
    assert (stopped.code, stopped.out.strip()) == (0, f"Nothing runs in {tmp_path}.")


@pytest.mark.parametrize("killed", [False, True], ids=["running", "killed"])
def test_everything_that_up_started_ends(killed: bool, call: Call, tmp_path: Path) -> None:
    options = elsewhere(tmp_path)
    with started(tmp_path, "up", PAINTER, *options) as command:
        command.wait_for_output("Ctrl-C stops everything.")
        up = psutil.Process(command.process.pid)
        inside = up.children(recursive=True)
        second = call("up", PAINTER, *elsewhere(tmp_path))
        assert second.code == 2
        assert "Stop it with `safelight down`" in second.err
        if killed:
            command.process.send_signal(signal.SIGKILL)
            eventually(lambda: all_gone(inside), within=60, what="the programs ended with up")
        stopped = call("down", "--state-folder", str(tmp_path / "state"))
        assert stopped.code == 0
        assert (f"safelight up (pid {up.pid})" in stopped.out) is not killed
        eventually(lambda: all_gone([up, *inside]), within=30, what="everything ended")
