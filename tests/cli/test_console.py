"""`safelight console`, when it cannot start."""

import socket

from tests.cli.conftest import Call


def test_the_console_listens_on_this_machine_only(call: Call) -> None:
    answer = call("console", "--host", "0.0.0.0")
    assert answer.code == 2
    assert "this machine only" in answer.line


def test_a_taken_port_is_one_line(call: Call) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        answer = call("console", "--port", str(listener.getsockname()[1]))
    assert answer.code == 2
    assert "Choose another port with --port" in answer.line
