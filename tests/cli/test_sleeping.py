"""`safelight sleep` and `safelight wake`, on a real service."""

from pathlib import Path

import pytest

from safelight.cli.sleeping import sleep, wake
from safelight.errors import BadSetting, ServiceFailed
from safelight.serving.http.keys import hashed
from safelight.stories.replay import free_port
from tests.serving.conftest import serving
from tests.serving.running import PAINTER

KEY, OTHER = "o" * 40, "a" * 40


def test_a_model_sleeps_and_wakes_and_each_command_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = f"ops:operate={hashed(KEY)},anna:infer={hashed(OTHER)}"
    with serving(tmp_path, PAINTER, api_keys=keys) as service:
        with pytest.raises(ServiceFailed, match="SAFELIGHT_OPERATOR_KEY"):
            sleep(service.url)
        monkeypatch.setenv("SAFELIGHT_OPERATOR_KEY", OTHER)
        with pytest.raises(ServiceFailed, match="no scope operate"):
            sleep(service.url)

        monkeypatch.setenv("SAFELIGHT_OPERATOR_KEY", KEY)
        sleep(service.url)
        assert "sleeps" in capsys.readouterr().out
        assert service.client.get("/readyz").json()["status"] == "asleep"
        wake(service.url)
        assert "awake" in capsys.readouterr().out
        assert service.client.get("/readyz").json()["status"] == "ready"


def test_where_no_service_answers_the_address_is_named() -> None:
    address = f"127.0.0.1:{free_port()}"
    for command in (sleep, wake):
        with pytest.raises(ServiceFailed, match=f"http://{address} does not answer"):
            command(address)


def test_a_wrong_address_is_refused() -> None:
    with pytest.raises(BadSetting, match="not a valid address"):
        sleep("ftp://somewhere")
