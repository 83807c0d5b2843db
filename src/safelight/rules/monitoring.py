"""Alerts on the monitoring that judges all others: series, rules and messages that went missing."""

from collections.abc import Callable
from dataclasses import replace

from safelight.metrics.catalog import CHANNEL, DELIVERY, IN_FLIGHT, NOTIFICATIONS, REQUESTS
from safelight.metrics.promql import JOB, Queries
from safelight.rules.objectives import burn_name
from safelight.rules.rule import AS_INSTANCE, AS_JOB, AS_NUMBER, Alert, Runbook
from safelight.rules.thresholds import Thresholds

_ON = f"{AS_INSTANCE} ({AS_JOB})"


def _missing(queries: Queries, _: Thresholds) -> Alert:
    return Alert(
        "ServiceMissing",
        f"absent({queries.select(IN_FLIGHT)})",
        for_seconds=300,
        severity="critical",
        summary=f"No service of {queries.namespace} is measured",
        description=f"No target has shown a metric of {queries.namespace} for five minutes.",
        runbook=Runbook(
            means="Its alerts cannot fire: there is nothing that they could judge.",
            look="Prometheus' page of targets: is the service listed, and is it UP?",
            do="Start the service, or add its address to the scrape job; or leave out its rules.",
        ),
    )


def _stale(queries: Queries, _: Thresholds) -> Alert:
    burn = burn_name(queries.namespace, "6h")
    return Alert(
        "BudgetsStale",
        f"absent_over_time({burn}[10m]) and on () {queries.select(REQUESTS)} >= 0",
        for_seconds=900,
        severity="warning",
        summary=f"The error budgets of {queries.namespace} are not worked out",
        description=(
            f"Services of {queries.namespace} are measured, but no burn rate was kept for ten "
            "minutes; what is forecast from it is stale."
        ),
        runbook=Runbook(
            means="The rules that keep the objectives do not run.",
            look="Prometheus' page of rules: the group of budgets, its error and its duration.",
            do="Load the rule file as it was exported, all of its groups.",
        ),
    )


def _rules_fail(queries: Queries, _: Thresholds) -> Alert:
    patient = replace(queries, window="10m")
    failures = patient.foreign("prometheus_rule_evaluation_failures_total")
    return Alert(
        "RulesFailing",
        f"sum by (job, instance, rule_group) (increase({failures}[{patient.window}])) > 0",
        for_seconds=0,
        severity="critical",
        summary=f"{_ON}: Prometheus cannot work out {{{{ $labels.rule_group }}}}",
        description=f"{AS_NUMBER} evaluations of {{{{ $labels.rule_group }}}} failed on {_ON}.",
        runbook=Runbook(
            means="Alerts of this group are blind while their rules fail.",
            look="Prometheus' page of rules shows the error beside the rule.",
            do="Most often two series where one is expected: two jobs that scrape one target.",
        ),
    )


def _unsent(queries: Queries, _: Thresholds) -> Alert:
    patient = replace(queries, window="10m")
    failed = patient.foreign("alertmanager_notifications_failed_total")
    return Alert(
        "NotificationsFailing",
        f"sum by (job, instance, integration) (increase({failed}[{patient.window}])) > 0",
        for_seconds=0,
        severity="critical",
        summary=f"{_ON}: alerts do not reach {{{{ $labels.integration }}}}",
        description=(
            f"{AS_NUMBER} messages to {{{{ $labels.integration }}}} failed on {_ON}; "
            "Alertmanager tries again."
        ),
        runbook=Runbook(
            means="Somebody who should be told is not.",
            look="Alertmanager's log: the receiver's address, its answer, its secret.",
            do="Mend the receiver; send a test with amtool alert add.",
        ),
    )


def _relay_fails(queries: Queries, _: Thresholds) -> Alert:
    patient = replace(queries, window="10m")
    by = (JOB, CHANNEL, DELIVERY)
    return Alert(
        "RelayFailing",
        f"{patient.increase(NOTIFICATIONS, by, {DELIVERY: '!delivered'})} > 0",
        for_seconds=0,
        severity="warning",
        summary=f"{AS_JOB}: messages to {{{{ $labels.channel }}}} are {{{{ $labels.outcome }}}}",
        description=(
            f"{AS_NUMBER} messages to {{{{ $labels.channel }}}} were {{{{ $labels.outcome }}}} in "
            f"{patient.window}."
        ),
        runbook=Runbook(
            means="A group chat is told late, or not at all; Alertmanager asks again meanwhile.",
            look="The relay's log says why: refused is a secret or an address, the rest passes.",
            do="Mend the secret's file (no restart is needed); group alerts more coarsely.",
        ),
    )


MONITOR_ALERTS: tuple[Callable[[Queries, Thresholds], Alert], ...] = (
    _missing,
    _stale,
    _rules_fail,
    _unsent,
    _relay_fails,
)
