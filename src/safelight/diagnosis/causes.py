"""Table of all alerts: which checks and alerts can explain each, and what shows where it is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from safelight.diagnosis.evidence import Evidence, Row
from safelight.diagnosis.finding import Exhibit
from safelight.diagnosis.queries import Statistic
from safelight.metrics.catalog import (
    DEVICE_SECONDS,
    ERROR,
    INSTRUCTION_TYPE,
    INVALIDITY,
    OUTPUT_INVALID,
    REJECTED,
    REJECTION,
    REQUESTS,
    RESTART,
    STAGE,
    STAGE_SECONDS,
    STEP,
    STEP_SECONDS,
    USE,
    WORKER_RESTARTS,
)
from safelight.metrics.metric import Label, Metric
from safelight.metrics.promql import INSTANCE
from safelight.reasons import NO_ERROR
from safelight.units import duration, share

Lead = Callable[[Evidence], Exhibit | None]
_NORMAL = frozenset({NO_ERROR, "useful", "canary", "shadow"})  # label values that are no fault


@dataclass(frozen=True, slots=True)
class Origin:
    """What can explain an alert, and where to look for it in the evidence."""

    causes: frozenset[str] = frozenset()
    leads: tuple[Lead, ...] = ()


def origin(alert: str) -> Origin:
    """Return the row of an alert. An alert that is not in the table has no known cause."""
    return ORIGINS.get(alert, Origin())


def _longest_stage(evidence: Evidence) -> Exhibit | None:
    seconds = evidence.now.sums_by(STAGE, STAGE_SECONDS, Statistic.SUM)
    total = sum(seconds.values())
    if not total:
        return None
    name = max(seconds, key=lambda each: seconds[each])
    mean = evidence.now.means_by(STAGE, STAGE_SECONDS).get(name, 0.0)
    text = f"longest stage: {name}, {duration(mean)} per request, {share(seconds[name] / total)}"
    return Exhibit(f"{text} of the time", evidence.queries.mean(STAGE_SECONDS, (STAGE,)))


def _slowest_step(evidence: Evidence) -> Exhibit | None:
    means = evidence.now.means_by(STEP, STEP_SECONDS)
    if not means:
        return None
    place = max(means, key=lambda each: means[each])
    text = f"slowest steps: {place}, {duration(means[place])} per step"
    return Exhibit(text, evidence.queries.mean(STEP_SECONDS, (STEP,)))


def _most(noun: str, metric: Metric, label: Label) -> Lead:
    """Return the lead to the label value with most events."""

    def lead(evidence: Evidence) -> Exhibit | None:
        rows = [
            (labels, rate)
            for labels, rate in evidence.now.select(metric)
            if rate > 0 and not _NORMAL & set(labels.values())
        ]
        if not rows:
            return None
        name, part = _largest(rows, label)
        instance, there = _largest(rows, INSTANCE)
        runs_elsewhere = len(evidence.now.sums_by(INSTANCE, metric)) > 1
        where = f"; {share(there)} on {instance}" if runs_elsewhere else ""
        text = f"most frequent {noun}: {name}, {share(part)} of them{where}"
        return Exhibit(text, evidence.queries.rate(metric, (label,)))

    return lead


def _budget(*faster: str) -> Origin:
    """Return what explains a slow loss of the error budget: a fast one is the same loss."""
    return Origin(_BUDGET.causes | set(faster), _BUDGET.leads)


def _largest(rows: Sequence[Row], label: Label) -> tuple[str, float]:
    """Return the label value with most events, and its share of them."""
    rates: dict[str, float] = {}
    for labels, rate in rows:
        name = labels.get(label.name, "")
        rates[name] = rates.get(name, 0.0) + rate
    most = max(rates, key=lambda each: rates[each])
    return most, rates[most] / sum(rates.values())


_REASON = _most("error", REQUESTS, ERROR)
_TYPE = _most("type among the failures", REQUESTS, INSTRUCTION_TYPE)
_FAILURES = (_REASON, _TYPE)

_STAGES = frozenset(
    {
        "slow_decode",
        "slow_upload",
        "slow_client",
        "slow_encode",
        "slow_transfer",
        "input_output_bottleneck",
    }
)
_MODEL = frozenset(
    {
        "slow_steps",
        "slow_early_steps",
        "slow_late_steps",
        "cold_compile",
        "precision_mixup",
        "throttled_card",
        "noisy_neighbour",
        "slow_node",
        "GpuThrottled",
    }
)
_LOAD = frozenset(
    {
        "traffic_shift",
        "device_saturated",
        "queue_saturated",
        "device_starved",
        "wrong_batch_cap",
        "uneven_load",
    }
)
_HOST = frozenset({"host_cpu", "host_memory", "disk_busy", "event_loop_blocked", "HostCpuBusy"})
_DOWN = frozenset({"crash_loop", "circuit_open", "NoWorkerReady", "CircuitOpen", "TargetDown"})
_GONE = frozenset({"monitoring_gap", "TargetDown"})
_SLOW = Origin(_STAGES | _MODEL | _LOAD | _HOST, (_longest_stage,))
_QUEUED = Origin(_MODEL | _LOAD | _HOST | _DOWN, (_longest_stage,))
_FAILING = Origin(
    frozenset(
        {
            "errors_rise",
            "failing_instruction",
            "invalid_outputs",
            "out_of_memory",
            "traffic_shift",
            "device_saturated",
            "queue_saturated",
            "CudaOutOfMemory",
        }
    )
    | _DOWN,
    _FAILURES,
)
_BUDGET = Origin(_SLOW.causes | _FAILING.causes, (_longest_stage, _REASON))
_BURNS = ("ErrorBudgetBurnFast", "ErrorBudgetBurn", "ErrorBudgetBurnSlow")
_VRAM = Origin(frozenset({"vram_leak", "cache_growth", "fragmentation"}))

ORIGINS: Mapping[str, Origin] = {
    "ErrorBudgetBurnFast": _BUDGET,
    "ErrorBudgetBurn": _budget("ErrorBudgetBurnFast"),
    "ErrorBudgetBurnSlow": _budget("ErrorBudgetBurnFast", "ErrorBudgetBurn"),
    "ErrorBudgetLeaking": _budget(*_BURNS),
    "ErrorBudgetExhaustionAhead": _budget(*_BURNS, "ErrorBudgetLeaking"),
    "RequestP95High": _SLOW,
    "HighP95Latency": _SLOW,
    "HighAPIErrorRate": _FAILING,
    "MostRequestsFail": _FAILING,
    "SuccessRatioLow": _FAILING,
    "RequestsFailing": _FAILING,
    "RequestsRefused": Origin(_QUEUED.causes, (_most("reason", REJECTED, REJECTION),)),
    "RequestsStuck": Origin(_DOWN | {"event_loop_blocked", "EventLoopBlocked"}),
    "TrafficStopped": Origin(_DOWN | _GONE),
    "QueueLongerThanInference": _QUEUED,
    "OutputsInvalid": Origin(
        frozenset({"invalid_outputs", "structure_corruption", "model_broken", "GpuMemoryErrors"}),
        (_most("reason", OUTPUT_INVALID, INVALIDITY),),
    ),
    "ModelBroken": Origin(frozenset({"model_broken", "GpuMemoryErrors"})),
    "ModelSlow": Origin(_MODEL | {"model_slower", "host_cpu"}),
    "ReadinessForced": Origin(frozenset({"model_broken", "ModelBroken"})),
    "CanaryOverdue": Origin(frozenset({"model_broken", "device_saturated", "ModelBroken"})),
    "RolloutRolledBack": Origin(),
    "SecondModelWorse": Origin(),
    "InstructionFailing": Origin(frozenset({"failing_instruction"}) | _FAILING.causes, (_REASON,)),
    "PromptsTruncated": Origin(),
    "WorkPilesUp": _QUEUED,
    "DeadlinesMissed": Origin(_QUEUED.causes, (_longest_stage, _TYPE)),
    "ServiceDegraded": _QUEUED,
    "CircuitOpen": Origin(frozenset({"circuit_open", "crash_loop", "out_of_memory"}), (_REASON,)),
    "DeviceTimeWasted": Origin(
        _LOAD | {"invalid_outputs", "crash_loop", "DeadlinesMissed"},
        (_most("use", DEVICE_SECONDS, USE),),
    ),
    "StepsSlow": Origin(_MODEL, (_slowest_step,)),
    "ModelRecompiles": Origin(frozenset({"cold_compile", "traffic_shift"})),
    "NoWorkerReady": Origin(
        frozenset({"crash_loop", "out_of_memory"}), (_most("reason", WORKER_RESTARTS, RESTART),)
    ),
    "TooFewReplicas": Origin(_GONE | {"crash_loop"}),
    "WorkersRestarting": Origin(
        frozenset({"crash_loop", "out_of_memory", "host_memory"}),
        (_most("reason", WORKER_RESTARTS, RESTART),),
    ),
    "CudaOutOfMemory": Origin(frozenset({"out_of_memory"}) | _VRAM.causes, (_TYPE,)),
    "GuidanceOverridden": Origin(frozenset({"silent_guidance"})),
    "VramNearlyFull": Origin(_VRAM.causes | {"noisy_neighbour"}),
    "GpuMemoryHigh": Origin(_VRAM.causes | {"noisy_neighbour", "VramNearlyFull"}),
    "VramLeak": _VRAM,
    "VramExhaustionAhead": Origin(_VRAM.causes | {"VramLeak"}),
    "GpuUtilizationHigh": Origin(frozenset({"device_saturated", "noisy_neighbour"})),
    "GpuTemperatureHigh": Origin(frozenset({"throttled_card"})),
    "GpuThrottled": Origin(frozenset({"throttled_card", "GpuTemperatureHigh"})),
    "GpuMemoryErrors": Origin(),
    "GpuXidError": Origin(),
    "GpuUseUneven": Origin(frozenset({"uneven_load"})),
    "GpuMetricsMissing": Origin(_GONE | {"ProbeSilent", "ProbeFailing"}),
    "HostCpuBusy": Origin(frozenset({"host_cpu"})),
    "HostMemoryHigh": Origin(frozenset({"host_memory", "process_growth"})),
    "HostMemoryFull": Origin(
        frozenset({"host_memory", "process_growth", "HostMemoryExhaustionAhead"})
    ),
    "HostDiskBusy": Origin(frozenset({"disk_busy"})),
    "HostFilesystemFull": Origin(frozenset({"filesystem_full"})),
    "EventLoopBlocked": Origin(frozenset({"event_loop_blocked", "host_cpu"})),
    "ContainerMemoryHigh": Origin(frozenset({"host_memory", "process_growth"})),
    "FileDescriptorsNearlyGone": Origin(frozenset({"traffic_shift"})),
    "ServiceRestarting": Origin(frozenset({"crash_loop", "host_memory"})),
    "ServiceMemoryGrows": Origin(frozenset({"process_growth"})),
    "FilesystemExhaustionAhead": Origin(frozenset({"filesystem_full"})),
    "HostMemoryExhaustionAhead": Origin(frozenset({"host_memory", "process_growth"})),
    "LogLinesLost": Origin(frozenset({"monitoring_gap", "filesystem_full", "HostFilesystemFull"})),
    "TargetDown": Origin(frozenset({"monitoring_gap", "crash_loop"})),
    "ProbeFailing": Origin(),
    "ProbeSilent": Origin(frozenset({"monitoring_gap", "ProbeFailing"})),
    "ExpositionSlow": Origin(frozenset({"host_cpu", "ExpositionLarge"})),
    "ExpositionLarge": Origin(),
    "SeriesFolded": Origin(),
    "RecordsLost": Origin(frozenset({"monitoring_gap", "filesystem_full"})),
    "ServiceMissing": Origin(_GONE),
    "BudgetsStale": Origin(frozenset({"RulesFailing"})),
    "RulesFailing": Origin(),
    "AlertmanagerMissing": Origin(),
    "RelayFailing": Origin(),
    "NotificationsFailing": Origin(),
}
