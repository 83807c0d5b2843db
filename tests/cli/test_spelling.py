"""Variables that look like settings: those that are none are named, and fail nobody."""

import pytest

from safelight.cli.spelling import misspelt
from safelight.settings import Settings, environment_name
from tests.cli.conftest import Call


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("SAFELIGHT_QUALTY_RATIO", "; did you mean SAFELIGHT_QUALITY_SAMPLE_RATIO?"),
        ("SAFELIGHT_QUEUELIMIT", "; did you mean SAFELIGHT_QUEUE_LIMIT?"),
        ("SAFELIGHT_API_KEY", "; did you mean SAFELIGHT_API_KEYS?"),
        ("SAFELIGHT_CONFG", "; did you mean SAFELIGHT_CONFIG?"),
        ("safelight_mdel", "; did you mean SAFELIGHT_MODEL?"),
        ("SAFELIGHT_COLOUR_OF_THE_ROOM", " and has no effect."),
    ],
)
def test_a_variable_that_is_no_setting_is_named_with_the_one_it_resembles(
    name: str, says: str
) -> None:
    assert misspelt([name, "PATH", "OTHER_QUEUE_LIMIT"]) == [f"{name} is no setting{says}"]


def test_no_setting_and_nothing_of_kubernetes_is_named() -> None:
    kubernetes = (
        "SAFELIGHT_SERVICE_HOST",
        "SAFELIGHT_SERVICE_PORT_HTTP",
        "SAFELIGHT_PORT_8000_TCP_ADDR",
        "SAFELIGHT_DEMO_SERVICE_PORT",
        "SAFELIGHT_DEMO_PORT_8000_TCP",
    )
    ours = map(environment_name, Settings.model_fields)
    assert misspelt(["SAFELIGHT_CONFIG", "safelight_port", *ours, *kubernetes]) == []


def test_many_strangers_and_wild_names_fill_no_screen() -> None:
    names = [f"SAFELIGHT_X{number}" for number in range(1000)]
    told = misspelt([*names, "SAFELIGHT_\x1b[31m", "SAFELIGHT_" + "Y" * 10_000])
    assert len(told) == 10
    assert "\x1b" not in "".join(told)
    assert max(map(len, misspelt(["SAFELIGHT_" + "Y" * 10_000]))) < 120


def test_the_command_goes_on_after_a_line_on_standard_error(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAFELIGHT_QUALTY_RATIO", "0.5")
    done = call("key", "alice")
    assert done.code == 0
    assert done.out.startswith("key for alice")
    assert done.line == (
        "safelight: SAFELIGHT_QUALTY_RATIO is no setting; "
        "did you mean SAFELIGHT_QUALITY_SAMPLE_RATIO?"
    )
