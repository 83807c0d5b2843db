"""Which dashboard shows the cause of each alert."""

from safelight.dashboards.uids import (
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

LEADS: dict[str, tuple[str, ...]] = {
    REQUEST: ("RequestP95High", "QueueLongerThanInference", "TrafficStopped"),
    DENOISING: ("StepsSlow", "ModelRecompiles", "GuidanceOverridden", "PromptsTruncated"),
    ENGINE: (
        "RequestsRefused",
        "WorkPilesUp",
        "DeadlinesMissed",
        "ServiceDegraded",
        "CircuitOpen",
        "DeviceTimeWasted",
        "NoWorkerReady",
        "WorkersRestarting",
        "RequestsStuck",
        "TooFewReplicas",
    ),
    INSTRUCTIONS: ("SuccessRatioLow", "RequestsFailing", "InstructionFailing"),
    QUALITY: ("OutputsInvalid",),
    GPUS: (
        "VramNearlyFull",
        "GpuMemoryHigh",
        "VramLeak",
        "VramExhaustionAhead",
        "CudaOutOfMemory",
        "GpuUtilizationHigh",
        "GpuTemperatureHigh",
        "GpuThrottled",
        "GpuMemoryErrors",
        "GpuMetricsMissing",
        "GpuXidError",
        "GpuUseUneven",
        "ContainerMemoryHigh",
        "HostCpuBusy",
        "HostMemoryHigh",
        "HostMemoryExhaustionAhead",
        "HostDiskBusy",
        "HostFilesystemFull",
        "FilesystemExhaustionAhead",
        "FileDescriptorsNearlyGone",
        "ServiceMemoryGrows",
        "ServiceRestarting",
    ),
    SLO: (
        "ErrorBudgetBurnFast",
        "ErrorBudgetBurn",
        "ErrorBudgetBurnSlow",
        "ErrorBudgetLeaking",
        "ErrorBudgetExhaustionAhead",
        "BudgetsStale",
    ),
    WEB: ("HighP95Latency", "HighAPIErrorRate", "EventLoopBlocked"),
    WATCHER: (
        "ServiceMissing",
        "TargetDown",
        "ProbeFailing",
        "ProbeSilent",
        "ExpositionSlow",
        "ExpositionLarge",
        "SeriesFolded",
        "RecordsLost",
        "LogLinesLost",
        "RulesFailing",
        "NotificationsFailing",
        "RelayFailing",
        "AlertmanagerMissing",
    ),
}


def with_dashboard(alerts: str) -> str:
    """Return alerts with the label `dashboard`: the uid of the one that shows the cause."""
    alerts = f'label_replace({alerts}, "dashboard", "{LIVE}", "", "")'  # of alerts of others
    for uid, names in LEADS.items():
        pattern = "|".join(names)
        alerts = f'label_replace({alerts}, "dashboard", "{uid}", "alertname", "{pattern}")'
    return alerts
