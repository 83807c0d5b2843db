"""Leave out the advice that does not fit the service's device, such as cuDNN on a processor."""

import re
from dataclasses import replace

from safelight.diagnosis.evidence import Evidence
from safelight.diagnosis.finding import Check
from safelight.diagnosis.queries import Statistic
from safelight.metrics.catalog import DEVICE, GPU_UTILIZATION, MODEL_INFO, VRAM_USED

_OF_NVIDIA = re.compile(r"cudnn|cuda|nvidia|\bMIG\b|\bXid\b", re.IGNORECASE)
_OF_A_GPU = re.compile(r"\b(?:the|its|a) GPU(?:'s)?\b(?!\.)")  # not: add an instance or a GPU
_EITHER = re.compile(f"{_OF_NVIDIA.pattern}|{_OF_A_GPU.pattern}", re.IGNORECASE)
_NOTHING = re.compile(r"(?!)")
_NVIDIA, _PROCESSOR = "cuda", "cpu"


def fitting(check: Check, evidence: Evidence) -> Check:
    """Return the check with the remedies and alternatives that are possible on the device."""
    if not check.remedy:
        return check
    unfit = _unfit(evidence)
    remedy = tuple(text for text in check.remedy if not unfit.search(text))
    others = tuple(text for text in check.alternatives if not unfit.search(text))
    return replace(check, remedy=remedy or check.remedy, alternatives=others)


def _unfit(evidence: Evidence) -> re.Pattern[str]:
    """Return what advice must not contain. An unknown device is not taken for one by NVIDIA."""
    now = evidence.now
    names = {labels.get(DEVICE.name, "") for labels, _ in now.select(MODEL_INFO)}
    memory = {labels.get(DEVICE.name, "") for labels, _ in now.select(VRAM_USED, Statistic.MAX)}
    devices = {name.partition(":")[0] for name in names | memory if name}
    if _NVIDIA in devices or (not devices and now.select(GPU_UTILIZATION)):
        return _NOTHING
    return _EITHER if devices == {_PROCESSOR} else _OF_NVIDIA
