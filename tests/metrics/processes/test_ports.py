import os
import socket

from safelight.metrics.processes.ports import listening


def test_the_ports_on_which_a_process_listens_are_known() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert port in listening(os.getpid())
    assert port not in listening(os.getpid())


def test_a_process_that_has_ended_listens_nowhere() -> None:
    assert listening(4_000_000) == set()
