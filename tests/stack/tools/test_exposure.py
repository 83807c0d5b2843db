"""What `safelight doctor` says about who reaches what."""

from pathlib import Path
from typing import Any

import pytest

from safelight.settings import PAGES, load
from safelight.stack.tools.exposure import open_to
from safelight.stack.tools.finding import Finding

KEY = "anna=" + "0" * 64


def findings(**settings: Any) -> dict[str, Finding]:
    return {finding.name: finding for finding in open_to(load(**settings))}


def opened(**settings: Any) -> set[str]:
    return {name for name, finding in findings(**settings).items() if not finding.found}


BESIDE = "Prometheus, Alertmanager, node-exporter"


def test_on_this_machine_alone_nothing_is_open_to_others() -> None:
    assert opened() == set()
    assert {finding.detail for finding in findings().values()} == {
        "open, for programs of this machine only"
    }


def test_without_keys_everything_is_open_to_who_reaches_the_address() -> None:
    found = findings(host="0.0.0.0", allow_anonymous=True)
    assert opened(host="0.0.0.0") == {"the model", *PAGES.values(), BESIDE}
    assert "everyone who reaches 0.0.0.0" in found["the model"].detail
    assert "SAFELIGHT_API_KEYS_FILE" in found["the model"].remedy


def test_with_keys_the_pages_are_open_until_they_are_protected() -> None:
    keyed: dict[str, Any] = {"host": "0.0.0.0", "api_keys": KEY}
    assert opened(**keyed) == {*PAGES.values(), BESIDE}
    assert findings(**keyed)["/metrics"].remedy == "Add metrics to SAFELIGHT_PROTECTED_PAGES."
    assert opened(**keyed, protected_pages="metrics,models") == {"/docs", "/openapi.json", BESIDE}
    assert opened(**keyed, protected_pages=",".join(PAGES)) == {BESIDE}


@pytest.mark.parametrize("setting", ["api_keys_file", "metrics_key_file"])
def test_a_file_of_keys_that_is_missing_or_shared_is_reported(setting: str, tmp_path: Path) -> None:
    path = tmp_path / "keys"
    chosen: dict[str, Any] = {setting: path}
    assert findings(**chosen)[str(path)].blocks
    path.write_text("")
    path.chmod(0o644)
    assert "all users" in findings(**chosen)[str(path)].detail
    assert not findings(**chosen)[str(path)].blocks
    path.chmod(0o640)
    assert findings(**chosen)[str(path)].found
