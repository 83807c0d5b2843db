"""A past Prometheus gets a port that nothing else takes before it starts."""

import socket

from safelight.stories.replay import free_port


def test_a_free_port_is_not_one_that_an_outgoing_connection_can_take() -> None:
    ports = {free_port() for _ in range(100)}
    assert len(ports) > 90
    assert all(10_000 <= port < 32_768 for port in ports)


def test_a_free_port_can_be_bound() -> None:
    with socket.create_server(("127.0.0.1", free_port())) as server:
        assert server.getsockname()[0] == "127.0.0.1"
