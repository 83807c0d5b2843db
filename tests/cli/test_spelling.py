"""Unknown SAFELIGHT_ variables are reported and do not stop a command."""

import pytest

from safelight.cli.spelling import unknown_settings
from safelight.settings import Settings, environment_name
from tests.cli.conftest import Call


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("SAFELIGHT_QUALTY_RATIO", " Did you mean SAFELIGHT_QUALITY_SAMPLE_RATIO?"),
        ("SAFELIGHT_QUEUELIMIT", " Did you mean SAFELIGHT_QUEUE_LIMIT?"),
        ("SAFELIGHT_API_KEY", " Did you mean SAFELIGHT_API_KEYS?"),
        ("SAFELIGHT_CONFG", " Did you mean SAFELIGHT_CONFIG?"),
        ("safelight_mdel", " Did you mean SAFELIGHT_MODEL?"),
        ("SAFELIGHT_COLOUR_OF_THE_ROOM", " It has no effect."),
    ],
)
def test_an_unknown_variable_is_reported_with_the_most_similar_setting(
    name: str, hint: str
) -> None:
    assert unknown_settings([name, "PATH", "OTHER_QUEUE_LIMIT"]) == [
        f"{name} is not a setting.{hint}"
    ]


def test_settings_and_kubernetes_variables_are_not_reported() -> None:
    kubernetes = (
        "SAFELIGHT_SERVICE_HOST",
        "SAFELIGHT_SERVICE_PORT_HTTP",
        "SAFELIGHT_PORT_8000_TCP_ADDR",
        "SAFELIGHT_DEMO_SERVICE_PORT",
        "SAFELIGHT_DEMO_PORT_8000_TCP",
    )
    settings = map(environment_name, Settings.model_fields)
    assert unknown_settings(["SAFELIGHT_CONFIG", "safelight_port", *settings, *kubernetes]) == []


def test_at_most_ten_short_sentences_are_printed() -> None:
    names = [f"SAFELIGHT_X{number}" for number in range(1000)]
    sentences = unknown_settings([*names, "SAFELIGHT_\x1b[31m", "SAFELIGHT_" + "Y" * 10_000])
    assert len(sentences) == 10
    assert "\x1b" not in "".join(sentences)
    assert max(map(len, unknown_settings(["SAFELIGHT_" + "Y" * 10_000]))) < 120


def test_an_unknown_variable_does_not_stop_the_command(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAFELIGHT_QUALTY_RATIO", "0.5")
    done = call("key", "alice")
    assert done.code == 0
    assert done.out.startswith("key for alice")
    assert done.line == (
        "safelight: SAFELIGHT_QUALTY_RATIO is not a setting. "
        "Did you mean SAFELIGHT_QUALITY_SAMPLE_RATIO?"
    )
