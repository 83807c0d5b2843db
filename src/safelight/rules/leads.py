"""Which dashboard, and which of its panels, shows the cause of each alert."""

from safelight.rules.rule import Alert
from safelight.rules.uids import (
    DENOISING,
    ENGINE,
    GPUS,
    INSTRUCTIONS,
    LIVE,
    QUALITY,
    REQUEST,
    SLO,
    WATCHER,
    WEB,
)

# The variables of a dashboard: those of GPUs and hosts are for exporters too.
_TARGET, _CARD = ("job", "instance"), ("card_job", "card_instance")
RANGE = "from=now-1h&to=now"

LEADS: dict[str, dict[str, str]] = {
    REQUEST: {
        "RequestP95High": "Which stage takes the time of a request?",
        "QueueLongerThanInference": "How long do requests wait in the queue?",
        "TrafficStopped": "How many requests are in flight?",
    },
    DENOISING: {
        "StepsSlow": "Which steps are slow?",
        "ModelRecompiles": "Does the model compile again and again?",
        "GuidanceOverridden": "Which guidance does the pipeline ignore?",
        "PromptsTruncated": "Are prompts cut?",
    },
    ENGINE: {
        "RequestsRefused": "Why are requests refused?",
        "WorkPilesUp": "How much work is queued?",
        "DeadlinesMissed": "How much work is queued?",
        "ServiceDegraded": "Is the quality reduced?",
        "CircuitOpen": "Does the circuit breaker refuse requests?",
        "DeviceTimeWasted": "What is the device time used for?",
        "NoWorkerReady": "How many workers are ready?",
        "TooFewReplicas": "How many workers are ready?",
        "WorkersRestarting": "Why are workers replaced?",
        "RequestsStuck": "How many workers are ready?",
    },
    INSTRUCTIONS: {
        "MostRequestsFail": "Why does an instruction fail?",
        "SuccessRatioLow": "Why does an instruction fail?",
        "RequestsFailing": "Why does an instruction fail?",
        "InstructionFailing": "Why does an instruction fail?",
    },
    QUALITY: {
        "OutputsInvalid": "What is wrong with the images?",
        "ModelBroken": "Is the model still right?",
        "ModelSlow": "Is the model still right?",
        "ReadinessForced": "Is the model still right?",
        "CanaryOverdue": "How far is the model from its golden output?",
        "RolloutRolledBack": "What do copies show about the second model?",
        "SecondModelWorse": "What do copies show about the second model?",
    },
    GPUS: {
        "VramNearlyFull": "Is the GPU's memory full?",
        "GpuMemoryHigh": "Is the GPU's memory full?",
        "VramLeak": "How fast does the memory grow per hour?",
        "VramExhaustionAhead": "Does PyTorch's memory grow?",
        "CudaOutOfMemory": "Is the GPU's memory full?",
        "GpuUtilizationHigh": "Is the GPU busy?",
        "GpuTemperatureHigh": "Is the GPU too hot?",
        "GpuThrottled": "Why does the GPU lower its clock?",
        "GpuMemoryErrors": "Is the GPU's memory broken?",
        "GpuXidError": "Which GPU is it?",
        "GpuUseUneven": "Is the GPU busy?",
        "GpuMetricsMissing": "Which GPU is it?",
        "HostCpuBusy": "Are the host's CPUs busy?",
        "HostMemoryHigh": "Does the host's memory run out?",
        "HostMemoryFull": "Does the host's memory run out?",
        "HostMemoryExhaustionAhead": "Does the host's memory run out?",
        "HostDiskBusy": "Are the disks busy?",
        "HostFilesystemFull": "Do the disks run full?",
        "FilesystemExhaustionAhead": "Do the disks run full?",
        "FileDescriptorsNearlyGone": "Does the API process lack file descriptors?",
        "ContainerMemoryHigh": "Does the API process leak memory?",
        "ServiceMemoryGrows": "Does the API process leak memory?",
        "ServiceRestarting": "Does the service restart again and again?",
    },
    SLO: {
        "ErrorBudgetBurnFast": "When was the budget used?",
        "ErrorBudgetBurn": "When was the budget used?",
        "ErrorBudgetBurnSlow": "When was the budget used?",
        "ErrorBudgetLeaking": "When was the budget used?",
        "ErrorBudgetExhaustionAhead": "Will the budget last?",
        "BudgetsStale": "How much of each budget is left?",
    },
    WEB: {
        "HighP95Latency": "Which route is slow?",
        "HighAPIErrorRate": "Which route fails?",
        "EventLoopBlocked": "Do handlers block the event loop?",
    },
    WATCHER: {
        "ServiceMissing": "Can Prometheus reach each service?",
        "TargetDown": "Can Prometheus reach each service?",
        "ProbeFailing": "Which probe fails?",
        "ProbeSilent": "Does a probe still measure?",
        "ExpositionSlow": "How long does a service write /metrics?",
        "ExpositionLarge": "How large is /metrics?",
        "SeriesFolded": "Which metric has too many series?",
        "RecordsLost": "Are records lost?",
        "LogLinesLost": "Are log lines lost?",
        "RulesFailing": "Which rules fail?",
        "NotificationsFailing": "Are notifications sent?",
        "RelayFailing": "Are notifications sent?",
        "AlertmanagerMissing": "Can Prometheus reach each service?",
    },
}


def lead(alert: str) -> tuple[str, str]:
    """Return the uid of the dashboard and the title of the panel that show an alert's cause."""
    for uid, panels in LEADS.items():
        if alert in panels:
            return uid, panels[alert]
    return LIVE, ""


def dashboard_path(alert: Alert) -> str:
    """Return the path and query of an alert's dashboard, as a template of Prometheus."""
    uid, _ = lead(alert.name)
    variables = _CARD if uid == GPUS else _TARGET
    service = f"&var-namespace={alert.service}" if alert.service else ""
    chosen = "".join(
        f"{{{{ with $labels.{label} }}}}&var-{variable}={{{{ . | urlquery }}}}{{{{ end }}}}"
        for label, variable in zip(_TARGET, variables, strict=True)
    )
    return f"/d/{uid}?{RANGE}{service}{chosen}"
