"""Scopes of alerts, and namespaces that are reserved because other metrics start with them."""

import re
from pathlib import Path

import pytest

from safelight import watch
from safelight.errors import BadSetting
from safelight.metrics.catalog import CATALOG
from safelight.metrics.foreign import FOREIGN
from safelight.metrics.metric import NAMESPACED
from safelight.metrics.registry import Meter
from safelight.namespace import RESERVED, checked
from safelight.rules.alerts import alerts
from safelight.rules.files import groups
from safelight.rules.rule import Alert, Recording, Scope
from safelight.settings import load
from safelight.stack.monitoring import read
from safelight.stack.services import services

NAMESPACE = "zebra"
ALERTS = alerts(NAMESPACE)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_an_alert_of_a_service_reads_its_metrics_and_no_other_alert_does(alert: Alert) -> None:
    assert (alert.scope is Scope.SERVICE) == (NAMESPACE in alert.expr)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_only_an_alert_of_a_service_has_its_name_as_a_label(alert: Alert) -> None:
    expected = NAMESPACE if alert.scope is Scope.SERVICE else None
    assert alert.labels.get("service") == expected


def test_all_other_alerts_are_the_same_for_every_service() -> None:
    one, other = (
        {alert for alert in alerts(name) if alert.scope is not Scope.SERVICE}
        for name in (NAMESPACE, "other")
    )
    assert one == other


def first_word(name: str) -> str:
    """Return the first word of a name of a metric or of a recording."""
    return re.split(r"[_:]", name.lower())[0]


def test_no_service_can_have_the_first_word_of_another_metric_as_its_namespace() -> None:
    shared = [metric.name for metric in CATALOG if metric.family not in NAMESPACED]
    rules = [rule for group in groups(NAMESPACE) for rule in group.rules]
    recorded = [
        rule.record
        for rule in rules
        if isinstance(rule, Recording) and not rule.record.startswith(NAMESPACE)
    ]
    words = {first_word(name) for name in (*FOREIGN, *shared, *recorded)}
    assert words <= RESERVED


def test_no_namespace_makes_two_metrics_have_one_name() -> None:
    shared = {metric.name for metric in CATALOG if metric.family not in NAMESPACED}
    own = [metric.name for metric in CATALOG if metric.family in NAMESPACED]
    colliding = {
        name.removesuffix(f"_{suffix}")
        for name in {*shared, *FOREIGN}
        for suffix in own
        if name.endswith(f"_{suffix}")
    }
    assert "http" in colliding
    assert colliding <= RESERVED


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_a_reserved_namespace_is_rejected(name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' is reserved.*choose another"):
        checked(name)


@pytest.mark.parametrize("name", ["", "Upper", "a-b", "1a", "a__b", "a" * 41])
def test_a_malformed_namespace_is_rejected(name: str) -> None:
    with pytest.raises(ValueError, match="is not a namespace"):
        checked(name)


def test_settings_reject_a_reserved_namespace() -> None:
    with pytest.raises(BadSetting, match=r"SAFELIGHT_NAMESPACE: .* is reserved.* choose another"):
        load(namespace="gpu")


def test_watch_rejects_a_reserved_namespace() -> None:
    with pytest.raises(BadSetting, match=r"is reserved"):
        watch(namespace="http")


def test_a_meter_rejects_a_reserved_namespace() -> None:
    with pytest.raises(ValueError, match="is reserved"):
        Meter("host")


def test_a_monitoring_file_rejects_a_reserved_namespace(tmp_path: Path) -> None:
    file = tmp_path / "monitoring.toml"
    file.write_text("[services.process.thresholds]\nrequest_p95_seconds = 1\n")
    with pytest.raises(BadSetting, match="is reserved"):
        read(file)


def test_a_model_with_a_reserved_name_gets_another_namespace() -> None:
    settings = services(load(), ["demo-edit", "models/gpu"])
    assert [each.namespace for each in settings.values()] == ["instructpix2pix", "model_gpu"]
