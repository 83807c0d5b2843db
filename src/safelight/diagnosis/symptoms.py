"""Turn the active alerts of a service into checks that report them as symptoms.

Each alert is one finding, however many series carry it: the worst one gives its value.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from safelight.diagnosis.active import MACHINE_WIDE, ActiveAlert, machine_of
from safelight.diagnosis.causes import origin
from safelight.diagnosis.comparison import comparison
from safelight.diagnosis.evidence import Evidence
from safelight.diagnosis.finding import Check, Exhibit, Severity, Sign, Symptom
from safelight.diagnosis.template import Format, rendered, value_format
from safelight.metrics.promql import INSTANCE, JOB
from safelight.rules.machines import MACHINE
from safelight.rules.rule import Alert, Scope
from safelight.units import duration, size, when

_MOST_CARRIERS = 5
_SENTENCE_END = re.compile(r"(?<=\.)\s+(?=[A-Z`])")
_PENDING, _FIRING = 0.5, 0.95  # confidences
_TARGET = re.compile(
    r"^\{\{ \$labels\.(?:job|instance|machine) \}\}(?: \(\{\{ \$labels\.job \}\}\))?: "
)
_CLEAR = frozenset(
    {INSTANCE.name, MACHINE.name, "handler", "objective", "mountpoint"}
)  # need no label name


def symptom_checks(evidence: Evidence) -> tuple[Check, ...]:
    """Return one check for each active alert of the service."""
    by_name: dict[str, list[ActiveAlert]] = {}
    for each in evidence.alerts:
        by_name.setdefault(each.alert.name, []).append(each)
    return tuple(_check(_distinct(_worst_first(series))) for series in by_name.values())


def _check(series: Sequence[ActiveAlert]) -> Check:
    alert = series[0].alert
    return Check(
        name=alert.name,
        title=_title(series[0]),
        judge=partial(_judge, series),
        formula=alert.expr,
        remedy=tuple(_SENTENCE_END.split(alert.runbook.do)),
        experiment=alert.runbook.look,
        causes=origin(alert.name).causes,
    )


def _title(active: ActiveAlert) -> str:
    """Return the alert's summary without its target, which the headline and the subject have."""
    text = rendered(_TARGET.sub("", active.alert.summary), active.labels, active.value)
    return text[:1].upper() + text[1:] if text.partition(" ")[0].isalpha() else text


def _judge(series: Sequence[ActiveAlert], evidence: Evidence) -> Iterator[Sign]:
    """Yield the symptom of one alert, from its distinct series, the worst first."""
    worst, alert = series[0], series[0].alert
    leads = (lead(evidence) for lead in origin(alert.name).leads)
    carriers = tuple(_carrier(each.labels) for each in series)
    yield Sign(
        max(Severity[each.severity.upper()] for each in series),
        max(_confidence(each, evidence.at) for each in series),
        _verdict(series, carriers),
        (*_exhibits(series, carriers, evidence.at), *(lead for lead in leads if lead)),
        subject=", ".join(carriers[:_MOST_CARRIERS]),
        symptom=Symptom(
            is_firing=any(each.is_firing for each in series),
            since=min(each.since for each in series),
            value=worst.value,
            limit=worst.limit,
            machines=_machines(series),
        ),
    )


def _worst_first(series: Sequence[ActiveAlert]) -> list[ActiveAlert]:
    found = comparison(series[0].alert.expr)
    sign = 1 if found and found.is_from_above else -1
    return sorted(
        series,
        key=lambda each: (each.value is None, sign * (each.value or 0), _carrier(each.labels)),
    )


def _distinct(series: Sequence[ActiveAlert]) -> list[ActiveAlert]:
    """Return one series for each machine: every service on it measures it."""
    kept: dict[str, ActiveAlert] = {}
    for each in series:
        known = kept.setdefault(_place(each), each)
        kept[_place(each)] = replace(
            known, since=min(known.since, each.since), is_firing=known.is_firing or each.is_firing
        )
    return list(kept.values())


def _place(active: ActiveAlert) -> str:
    """Return what an alert is about: of a machine's, the host without the port of its program."""
    labels = dict(active.labels)
    if active.alert.scope in MACHINE_WIDE:
        labels[MACHINE.name] = machine_of(labels)
        for name in (JOB.name, INSTANCE.name):
            labels.pop(name, None)
    return " ".join(f"{name}={value}" for name, value in sorted(labels.items()))


def _machines(series: Sequence[ActiveAlert]) -> frozenset[str]:
    shared = series[0].alert.scope in {*MACHINE_WIDE, Scope.MONITORING}
    return frozenset(map(_place, series)) if shared else frozenset()


def _carrier(labels: Mapping[str, str]) -> str:
    """Return what carries an alert, the instance first; empty if it is the whole service."""
    names = sorted(
        labels.keys() - {JOB.name},
        key=lambda name: (name not in (INSTANCE.name, MACHINE.name), name),
    )
    parts = (labels[name] if name in _CLEAR else f"{_words(name)} {labels[name]}" for name in names)
    return " ".join(parts)


def _verdict(series: Sequence[ActiveAlert], carriers: Sequence[str]) -> str:
    worst = series[0]
    is_known = worst.value is not None or "$value" not in worst.alert.description
    text = rendered(worst.alert.description, worst.labels, worst.value).rstrip(".")
    text = text if is_known else _title(worst)
    if len(series) == 1:
        return text
    names = ", ".join(carriers[:_MOST_CARRIERS])
    more = f" and {len(series) - _MOST_CARRIERS} more" if len(series) > _MOST_CARRIERS else ""
    return f"{len(series)} {_noun(series)}: {names}{more}. The worst: {text}"


def _noun(series: Sequence[ActiveAlert]) -> str:
    """Return the plural of the label by which the series differ."""
    labels = [each.labels for each in series]
    names = sorted(name for name in labels[0] if len({each.get(name) for each in labels}) > 1)
    name = INSTANCE.name if INSTANCE.name in names else next(iter(names), "serie")
    return f"{_words(name)}s"


def _words(label: str) -> str:
    return "GPU" if label == "gpu" else label.replace("_", " ")


def _exhibits(
    series: Sequence[ActiveAlert], carriers: Sequence[str], at: float
) -> Iterator[Exhibit]:
    for each, carrier in list(zip(series, carriers, strict=True))[:_MOST_CARRIERS]:
        where = f"{carrier}: " if len(series) > 1 else ""
        yield Exhibit(f"{where}{_measured(each)}; {_state(each, at)}", each.alert.expr)


def _measured(active: ActiveAlert) -> str:
    """Return the value and the limit, in the alert's own unit."""
    write, found = _format(active.alert), comparison(active.alert.expr)
    if found is None:
        return "the alert has no numeric limit: data is missing"
    value = "no value at this time" if active.value is None else write(active.value)
    limit = "unknown" if active.limit is None else write(active.limit)
    if found.operator == "==":
        return f"{value}; the limit is more than {limit}"
    return f"{value}; the limit is {limit}"


def _format(alert: Alert) -> Format:
    """Return how the alert's texts write its value. Without one, bytes are known by their name."""
    texts = (alert.description, alert.summary)
    if "_bytes" in alert.expr and not any("$value" in text for text in texts):
        return size
    return value_format(*texts)


def _state(active: ActiveAlert, at: float) -> str:
    age = f"since {when(active.since)} ({duration(max(0.0, at - active.since))})"
    if active.is_firing:
        return f"the alert fires; its condition holds {age}"
    return f"the alert is pending {age}; it fires after {duration(active.alert.for_seconds)}"


def _confidence(active: ActiveAlert, at: float) -> float:
    """Return a confidence that grows while the alert is pending."""
    if active.is_firing or not active.alert.for_seconds:
        return _FIRING
    progress = min(1.0, max(0.0, (at - active.since) / active.alert.for_seconds))
    return _PENDING + (_FIRING - _PENDING) * progress
