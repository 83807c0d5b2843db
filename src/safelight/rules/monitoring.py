"""Alerts on Prometheus, Alertmanager and the relay: missing series, failing rules and messages."""

from collections.abc import Callable
from dataclasses import replace

from safelight.metrics.catalog import CHANNEL, DELIVERY, NOTIFICATIONS, REQUESTS
from safelight.metrics.promql import JOB, Queries
from safelight.rules.objectives import burn_name
from safelight.rules.rule import AS_COUNT, AS_INSTANCE, AS_JOB, Alert, Runbook, Scope
from safelight.rules.thresholds import Thresholds

_ON = f"{AS_INSTANCE} ({AS_JOB})"
# `FILE;NAMESPACE-NAME`: rules of other teams in the same Prometheus are theirs.
_OUR_GROUPS = (
    ".*;.+-(budgets|routes|failures|levels|dcgm|old-names|objectives|service|outputs|engine|workers|gpus"
    "|host|process|watcher|monitoring)"
)


def _missing(queries: Queries, _: Thresholds) -> Alert:
    return Alert(
        "ServiceMissing",
        f"absent({queries.service()})",
        for_seconds=300,
        severity="critical",
        scope=Scope.SERVICE,
        summary=f"No service with the namespace {queries.namespace} is scraped",
        description=(
            f"No target has exposed a metric of the namespace {queries.namespace} for five minutes."
        ),
        runbook=Runbook(
            means="The alerts of this service have no data and cannot fire.",
            look="The page Status > Targets in Prometheus: is the service listed and UP?",
            do="Start the service, add its address to the scrape job, or remove its rules.",
        ),
    )


def _stale(queries: Queries, _: Thresholds) -> Alert:
    burn = burn_name(queries.namespace, "6h")
    return Alert(
        "BudgetsStale",
        f"absent_over_time({burn}[10m]) and on () {queries.select(REQUESTS)} >= 0",
        for_seconds=900,
        severity="warning",
        scope=Scope.SERVICE,
        summary=f"The error budgets of {queries.namespace} are not computed",
        description=(
            f"Services of the namespace {queries.namespace} are scraped, but no burn rate was "
            "recorded for ten minutes. Forecasts of the error budget are stale."
        ),
        runbook=Runbook(
            means="The recording rules of the objectives do not run.",
            look="The page Status > Rules in Prometheus: error and duration of the budget group.",
            do="Load all groups of the exported rule file.",
        ),
    )


def _rules_fail(queries: Queries, _: Thresholds) -> Alert:
    longer = replace(queries, window="10m")
    failures = longer.foreign(
        "prometheus_rule_evaluation_failures_total", {"rule_group": f"~{_OUR_GROUPS}"}
    )
    group = "{{ $labels.rule_group }}"
    return Alert(
        "RulesFailing",
        f"sum by (job, instance, rule_group) (increase({failures}[{longer.window}])) > 0",
        for_seconds=0,
        severity="critical",
        scope=Scope.MONITORING,
        summary=f"{_ON}: Prometheus cannot evaluate the rule group {group}",
        description=f"{AS_COUNT} evaluations of {group} failed on {_ON}.",
        runbook=Runbook(
            means="Alerts of this group cannot fire while their rules fail.",
            look="The page Status > Rules in Prometheus shows the error beside the rule.",
            do="The usual cause is a duplicate series: two jobs that scrape the same target.",
        ),
    )


def _notifications_fail(queries: Queries, _: Thresholds) -> Alert:
    longer = replace(queries, window="10m")
    failures = longer.foreign("alertmanager_notifications_failed_total")
    integration = "{{ $labels.integration }}"
    return Alert(
        "NotificationsFailing",
        f"sum by (job, instance, integration) (increase({failures}[{longer.window}])) > 0",
        for_seconds=0,
        severity="critical",
        scope=Scope.MONITORING,
        summary=f"{_ON}: alerts do not reach {integration}",
        description=(
            f"{AS_COUNT} notifications to {integration} failed on {_ON}. Alertmanager retries."
        ),
        runbook=Runbook(
            means="A receiver does not get its alerts.",
            look="Alertmanager's log: the receiver's address, its response and its secret.",
            do="Repair the receiver. Send a test with amtool alert add.",
        ),
    )


def _relay_fails(queries: Queries, _: Thresholds) -> Alert:
    longer = replace(queries, window="10m")
    by = (JOB, CHANNEL, DELIVERY)
    channel, outcome = "{{ $labels.channel }}", "{{ $labels.outcome }}"
    return Alert(
        "RelayFailing",
        f"{longer.increase(NOTIFICATIONS, by, {DELIVERY: '!delivered'})} > 0",
        for_seconds=0,
        severity="warning",
        scope=Scope.MONITORING,
        summary=f"{AS_JOB}: messages to {channel} are not delivered ({outcome})",
        description=(
            f"{AS_COUNT} messages to {channel} were not delivered in {longer.window} ({outcome})."
        ),
        runbook=Runbook(
            means="A group chat gets its alerts late or not at all.",
            look=(
                "The reason in the relay's log. `refused`: a wrong secret or address. "
                "`unreachable` and `rate_limited` are often temporary, and Alertmanager retries."
            ),
            do="Correct the secret's file (no restart is needed), or send fewer, larger groups.",
        ),
    )


def _no_alertmanager(queries: Queries, _: Thresholds) -> Alert:
    found = queries.foreign("prometheus_notifications_alertmanagers_discovered")
    return Alert(
        "AlertmanagerMissing",
        f"{found} < 1",
        for_seconds=300,
        severity="critical",
        scope=Scope.MONITORING,
        summary=f"{_ON}: Prometheus knows no Alertmanager",
        description=f"Alerts of {_ON} reach nobody: it has {AS_COUNT} Alertmanagers.",
        runbook=Runbook(
            means="Alerts fire in Prometheus, but nobody gets a message.",
            look="The part alerting of prometheus.yml, and Status > Runtime in Prometheus.",
            do="Start Alertmanager, or correct its address.",
        ),
    )


MONITOR_ALERTS: tuple[Callable[[Queries, Thresholds], Alert], ...] = (
    _missing,
    _stale,
    _rules_fail,
    _notifications_fail,
    _relay_fails,
    _no_alertmanager,
)
