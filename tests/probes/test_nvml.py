import re
from inspect import getsource

import pynvml
import pytest

from safelight.metrics.catalog import (
    CATALOG,
    GPU_CLOCK,
    GPU_ECC_ERRORS,
    GPU_ENERGY,
    GPU_INFO,
    GPU_MEMORY_TOTAL,
    GPU_MEMORY_USED,
    GPU_POWER,
    GPU_POWER_LIMIT,
    GPU_TEMPERATURE,
    GPU_THROTTLED,
    GPU_UTILIZATION,
    PROBE_FAILURES,
)
from safelight.metrics.metric import Family
from safelight.metrics.registry import Meter
from safelight.probes import nvml as module
from safelight.probes.nvml import NvmlProbe
from safelight.probes.sampler import Sampler
from tests.probes.nvidia import GB, FakeGpu, FakeNvml
from tests.reading import FakeClock, series, value

GPU_METRICS = [metric for metric in CATALOG if metric.family is Family.GPU]


@pytest.fixture
def meter() -> Meter:
    return Meter("pix")


def labels(meter: Meter) -> set[str]:
    """Return the GPU labels of all metrics."""
    return {each["gpu"] for metric in GPU_METRICS for each in series(meter, metric)}


@pytest.mark.parametrize(
    ("constant", "reason"),
    [
        ("nvmlClocksEventReasonSwPowerCap", "power_cap"),
        ("nvmlClocksThrottleReasonHwSlowdown", "hardware_slowdown"),
        ("nvmlClocksEventReasonSwThermalSlowdown", "software_thermal"),
        ("nvmlClocksThrottleReasonHwThermalSlowdown", "hardware_thermal"),
        ("nvmlClocksThrottleReasonHwPowerBrakeSlowdown", "power_brake"),
    ],
)
def test_each_reason_of_a_lower_clock_is_nvidias(constant: str, reason: str, meter: Meter) -> None:
    gpu = FakeGpu(event_reasons=getattr(pynvml, constant))
    assert NvmlProbe(meter, nvml=FakeNvml(gpu)).read()
    reasons = {
        each["reason"]: value(meter, GPU_THROTTLED, **each) for each in series(meter, GPU_THROTTLED)
    }
    assert {name for name, active in reasons.items() if active} == {reason}


def test_a_gpu_is_read_in_base_units(meter: Meter) -> None:
    gpu = FakeGpu(event_reasons=0x4 | 0x40, ecc={0: 3, 1: 1})
    assert NvmlProbe(meter, nvml=FakeNvml(gpu)).read()
    assert value(meter, GPU_UTILIZATION, gpu="0") == 0.4
    assert value(meter, GPU_MEMORY_USED) == 12 * GB
    assert value(meter, GPU_MEMORY_TOTAL) == 80 * GB
    assert value(meter, GPU_TEMPERATURE) == 61
    assert (value(meter, GPU_POWER), value(meter, GPU_POWER_LIMIT)) == (350, 700)
    assert value(meter, GPU_ENERGY) == 5
    assert value(meter, GPU_CLOCK, clock="sm") == 1.98e9
    assert value(meter, GPU_ECC_ERRORS, kind="corrected") == 3
    assert value(meter, GPU_ECC_ERRORS, kind="uncorrected") == 1
    reasons = {
        each["reason"]: value(meter, GPU_THROTTLED, **each) for each in series(meter, GPU_THROTTLED)
    }
    assert {reason for reason, on in reasons.items() if on} == {"power_cap", "hardware_thermal"}
    assert series(meter, GPU_INFO) == [
        {"gpu": "0", "uuid": "GPU-1", "name": "NVIDIA H100", "driver": "580.65.06"}
    ]


def test_a_whole_gpu_has_every_metric_of_the_family(meter: Meter) -> None:
    NvmlProbe(meter, nvml=FakeNvml(FakeGpu())).read()
    assert [metric.name for metric in GPU_METRICS if not series(meter, metric)] == []


def test_each_gpu_has_its_own_series(meter: Meter) -> None:
    nvml = FakeNvml(FakeGpu(busy_percent=10), FakeGpu(uuid="GPU-2", busy_percent=90))
    NvmlProbe(meter, nvml=nvml).read()
    assert value(meter, GPU_UTILIZATION, gpu="0") == 0.1
    assert value(meter, GPU_UTILIZATION, gpu="1") == 0.9


@pytest.mark.parametrize("how", ["lost", "gone"])
def test_the_series_of_a_missing_gpu_are_removed(how: str, meter: Meter) -> None:
    nvml = FakeNvml(FakeGpu(), FakeGpu(uuid="GPU-2"))
    probe = NvmlProbe(meter, nvml=nvml)
    probe.read()
    if how == "gone":
        nvml.gpus.pop()
    else:
        nvml.gpus[1].lost = True
    assert probe.read()
    assert labels(meter) == {"0"}


def test_a_lost_gpu_counts_as_a_failure(meter: Meter) -> None:
    nvml = FakeNvml(FakeGpu())
    probe = NvmlProbe(meter, nvml=nvml)
    probe.read()
    nvml.gpus[0].lost = True
    assert not probe.read()
    assert value(meter, PROBE_FAILURES, probe="nvml") == 1


def test_a_returned_gpu_has_series_again(meter: Meter) -> None:
    nvml = FakeNvml(FakeGpu())
    probe = NvmlProbe(meter, nvml=nvml)
    for lost in (False, True, False):
        nvml.gpus[0].lost = lost
        probe.read()
    assert value(meter, GPU_MEMORY_USED, gpu="0") == 12 * GB
    assert len(series(meter, GPU_INFO)) == 1


def test_the_series_follow_a_driver_that_stops_and_restarts(meter: Meter) -> None:
    nvml, clock = FakeNvml(FakeGpu()), FakeClock()
    sampler = Sampler(meter, clock=clock)
    sampler.every(5, "nvml", NvmlProbe(meter, nvml=nvml).read)
    sampler.tick()
    assert labels(meter) == {"0"}
    nvml.driver = False
    clock.now = 5
    sampler.tick()
    assert labels(meter) == set()
    nvml.driver, nvml.sessions = True, 0  # a reloaded driver has no sessions
    for clock.now in (10, 15):
        sampler.tick()
    assert labels(meter) == {"0"}


FUNCTIONS = [
    ("nvmlDeviceGetUtilizationRates", GPU_UTILIZATION),
    ("nvmlDeviceGetClockInfo", GPU_CLOCK),
    ("nvmlDeviceGetPowerUsage", GPU_POWER),
    ("nvmlDeviceGetEnforcedPowerLimit", GPU_POWER_LIMIT),
    ("nvmlDeviceGetTotalEnergyConsumption", GPU_ENERGY),
    ("nvmlDeviceGetTemperature", GPU_TEMPERATURE),
    ("nvmlDeviceGetCurrentClocksEventReasons", GPU_THROTTLED),
    ("nvmlDeviceGetTotalEccErrors", GPU_ECC_ERRORS),
]


@pytest.mark.parametrize(("function", "metric"), FUNCTIONS, ids=lambda given: str(given)[:40])
def test_unsupported_values_are_absent_and_the_others_present(
    function: str, metric: object, meter: Meter
) -> None:
    gpu = FakeGpu(unsupported=frozenset({function, "nvmlDeviceGetMigMode"}))
    assert NvmlProbe(meter, nvml=FakeNvml(gpu)).read()
    absent = {found.name for found in GPU_METRICS if not series(meter, found)}
    assert getattr(metric, "name", "") in absent
    assert len(absent) <= 2
    assert value(meter, PROBE_FAILURES) == 0


def test_a_gpu_without_a_name_is_called_unknown(meter: Meter) -> None:
    gpu = FakeGpu(unsupported=frozenset({"nvmlDeviceGetName", "nvmlDeviceGetUUID"}))
    NvmlProbe(meter, nvml=FakeNvml(gpu)).read()
    assert series(meter, GPU_INFO)[0]["name"] == "unknown"


def test_a_partitioned_gpu_shows_the_memory_of_its_instances(meter: Meter) -> None:
    gpu = FakeGpu(instances=[FakeGpu(uuid="MIG-1", used=GB), None, FakeGpu(used=2 * GB)])
    NvmlProbe(meter, nvml=FakeNvml(gpu)).read()
    assert value(meter, GPU_MEMORY_USED, gpu="0/0") == GB
    assert value(meter, GPU_MEMORY_USED, gpu="0/2") == 2 * GB
    assert {found["gpu"] for found in series(meter, GPU_UTILIZATION)} == {"0"}
    assert {found["gpu"] for found in series(meter, GPU_INFO)} == {"0", "0/0", "0/2"}


def test_the_series_of_a_destroyed_instance_are_removed(meter: Meter) -> None:
    gpu = FakeGpu(instances=[FakeGpu(uuid="MIG-1"), FakeGpu(uuid="MIG-2")])
    probe = NvmlProbe(meter, nvml=FakeNvml(gpu))
    probe.read()
    gpu.instances[1] = None
    probe.read()
    assert labels(meter) == {"0", "0/0"}


def test_the_energy_counter_survives_a_reset_of_the_gpu(meter: Meter) -> None:
    gpu = FakeGpu(millijoules=5_000)
    probe = NvmlProbe(meter, nvml=FakeNvml(gpu))
    for millijoules in (5_000, 9_000, 1_000):
        gpu.millijoules = millijoules
        probe.read()
    assert value(meter, GPU_ENERGY) == 10


def test_a_machine_without_a_driver_has_no_gpu_series(meter: Meter) -> None:
    probe = NvmlProbe(meter, nvml=FakeNvml(FakeGpu(), driver=False))
    assert not probe.read()
    probe.close()
    assert labels(meter) == set()
    assert value(meter, PROBE_FAILURES) == 0


def test_the_real_library_works_on_this_machine(meter: Meter) -> None:
    probe = NvmlProbe(meter)
    assert probe.read() == bool(labels(meter))
    probe.close()
    assert value(meter, PROBE_FAILURES) == 0


def test_the_library_is_shut_down_once(meter: Meter) -> None:
    nvml = FakeNvml(FakeGpu())
    probe = NvmlProbe(meter, nvml=nvml)
    probe.read()
    assert nvml.sessions == 1
    probe.close()
    probe.close()
    assert nvml.sessions == 0


def test_every_used_name_is_in_the_real_library_and_in_the_fake() -> None:
    names = set(re.findall(r"_?nvml\.((?:nvml|NVML)\w+)", getsource(module)))
    assert len(names) > 15
    fake = FakeNvml()
    for name in names:
        assert hasattr(pynvml, name), name
        assert getattr(fake, name) is not None
    constants = {name for name in names if name.startswith("NVML_")}
    assert {n: getattr(fake, n) for n in constants} == {n: getattr(pynvml, n) for n in constants}


# ── GPUs as they are (W12) ───────────────────────────────────────────────────────────────────────


def test_w12_sixteen_gpus_are_shown_as_sixteen(meter: Meter) -> None:
    gpus = [FakeGpu(uuid=f"GPU-{index}", used=index * GB) for index in range(16)]
    probe = NvmlProbe(meter, nvml=FakeNvml(*gpus))
    assert [probe.read(), probe.read()] == [True, True]
    for metric in (GPU_MEMORY_USED, GPU_UTILIZATION, GPU_TEMPERATURE, GPU_INFO):
        assert {each["gpu"] for each in series(meter, metric)} == {str(n) for n in range(16)}
    assert value(meter, GPU_MEMORY_USED, gpu="15") == 15 * GB


def test_w12_all_mig_instances_of_eight_gpus_are_shown(meter: Meter) -> None:
    gpus = [
        FakeGpu(uuid=f"GPU-{index}", instances=[FakeGpu(uuid=f"MIG-{index}-{n}") for n in range(7)])
        for index in range(8)
    ]
    assert NvmlProbe(meter, nvml=FakeNvml(*gpus)).read()
    shown = {each["gpu"] for each in series(meter, GPU_MEMORY_USED)}
    assert len([label for label in shown if "/" in label]) == 56
    assert "other" not in shown


@pytest.mark.parametrize(
    "function",
    [
        "nvmlDeviceGetMemoryInfo",
        "nvmlDeviceGetUtilizationRates",
        "nvmlDeviceGetPowerUsage",
        "nvmlDeviceGetEnforcedPowerLimit",
        "nvmlDeviceGetTotalEnergyConsumption",
        "nvmlDeviceGetTemperature",
        "nvmlDeviceGetCurrentClocksEventReasons",
        "nvmlDeviceGetTotalEccErrors",
        "nvmlDeviceGetClockInfo",
        "nvmlDeviceGetMigMode",
    ],
)
def test_w12_a_gpu_without_one_function_shows_the_rest(function: str, meter: Meter) -> None:
    whole = Meter("whole")
    NvmlProbe(whole, nvml=FakeNvml(FakeGpu())).read()
    gpu = FakeGpu(name="NVIDIA GB10", unsupported=frozenset({function}))
    assert NvmlProbe(meter, nvml=FakeNvml(gpu)).read()
    shown = {metric for metric in GPU_METRICS if series(meter, metric)}
    missing = {metric for metric in GPU_METRICS if series(whole, metric)} - shown
    assert len(missing) <= 2
    assert value(meter, PROBE_FAILURES, probe="nvml") == 0
