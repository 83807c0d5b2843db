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
from safelight.probes import nvml as room
from safelight.probes.nvml import NvmlProbe
from safelight.probes.sampler import Sampler
from tests.probes.nvidia import GB, FakeCard, FakeNvml
from tests.reading import FakeClock, series, value

OF_THE_CARD = [metric for metric in CATALOG if metric.family is Family.GPU]


@pytest.fixture
def meter() -> Meter:
    return Meter("pix")


def labels(meter: Meter) -> set[str]:
    """Return the cards that any metric shows."""
    return {found["gpu"] for metric in OF_THE_CARD for found in series(meter, metric)}


def test_a_card_is_read_in_base_units(meter: Meter) -> None:
    card = FakeCard(event_reasons=0x4 | 0x40)
    assert NvmlProbe(meter, nvml=FakeNvml(card)).read()
    assert value(meter, GPU_UTILIZATION, gpu="0") == 0.4
    assert value(meter, GPU_MEMORY_USED) == 12 * GB
    assert value(meter, GPU_MEMORY_TOTAL) == 80 * GB
    assert value(meter, GPU_TEMPERATURE) == 61
    assert (value(meter, GPU_POWER), value(meter, GPU_POWER_LIMIT)) == (350, 700)
    assert value(meter, GPU_ENERGY) == 5
    assert value(meter, GPU_CLOCK, clock="sm") == 1.98e9
    assert value(meter, GPU_ECC_ERRORS, kind="corrected") == 3
    reasons = {
        found["reason"]: value(meter, GPU_THROTTLED, **found)
        for found in series(meter, GPU_THROTTLED)
    }
    assert {reason for reason, on in reasons.items() if on} == {"power_cap", "hardware_thermal"}
    assert series(meter, GPU_INFO) == [
        {"gpu": "0", "uuid": "GPU-1", "name": "NVIDIA H100", "driver": "580.65.06"}
    ]


def test_a_whole_card_fills_every_metric_of_the_family(meter: Meter) -> None:
    NvmlProbe(meter, nvml=FakeNvml(FakeCard())).read()
    assert [metric.name for metric in OF_THE_CARD if not series(meter, metric)] == []


def test_several_cards_are_told_apart(meter: Meter) -> None:
    nvml = FakeNvml(FakeCard(busy_percent=10), FakeCard(uuid="GPU-2", busy_percent=90))
    NvmlProbe(meter, nvml=nvml).read()
    assert value(meter, GPU_UTILIZATION, gpu="0") == 0.1
    assert value(meter, GPU_UTILIZATION, gpu="1") == 0.9


@pytest.mark.parametrize("how", ["lost", "gone"])
def test_a_card_that_vanishes_takes_its_series_with_it(how: str, meter: Meter) -> None:
    nvml = FakeNvml(FakeCard(), FakeCard(uuid="GPU-2"))
    probe = NvmlProbe(meter, nvml=nvml)
    probe.read()
    if how == "gone":
        nvml.cards.pop()
    else:
        nvml.cards[1].lost = True
    assert probe.read()
    assert labels(meter) == {"0"}


def test_a_lost_card_is_counted_as_a_failure(meter: Meter) -> None:
    nvml = FakeNvml(FakeCard())
    probe = NvmlProbe(meter, nvml=nvml)
    probe.read()
    nvml.cards[0].lost = True
    assert not probe.read()
    assert value(meter, PROBE_FAILURES, probe="nvml") == 1


def test_a_card_that_comes_back_is_shown_again(meter: Meter) -> None:
    nvml = FakeNvml(FakeCard())
    probe = NvmlProbe(meter, nvml=nvml)
    for lost in (False, True, False):
        nvml.cards[0].lost = lost
        probe.read()
    assert value(meter, GPU_MEMORY_USED, gpu="0") == 12 * GB
    assert len(series(meter, GPU_INFO)) == 1


def test_a_driver_that_goes_takes_every_series_with_it_and_may_return(meter: Meter) -> None:
    nvml, clock = FakeNvml(FakeCard()), FakeClock()
    sampler = Sampler(meter, clock=clock)
    sampler.every(5, "nvml", NvmlProbe(meter, nvml=nvml).read)
    sampler.tick()
    assert labels(meter) == {"0"}
    nvml.driver = False
    clock.now = 5
    sampler.tick()
    assert labels(meter) == set()
    nvml.driver, nvml.sessions = True, 0  # the driver was loaded anew and knows no session of ours
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
def test_what_a_card_does_not_support_is_absent_and_the_rest_is_there(
    function: str, metric: object, meter: Meter
) -> None:
    card = FakeCard(unsupported=frozenset({function, "nvmlDeviceGetMigMode"}))
    assert NvmlProbe(meter, nvml=FakeNvml(card)).read()
    absent = {found.name for found in OF_THE_CARD if not series(meter, found)}
    assert getattr(metric, "name", "") in absent
    assert len(absent) <= 2
    assert value(meter, PROBE_FAILURES) == 0


def test_a_card_without_a_name_is_called_unknown(meter: Meter) -> None:
    card = FakeCard(unsupported=frozenset({"nvmlDeviceGetName", "nvmlDeviceGetUUID"}))
    NvmlProbe(meter, nvml=FakeNvml(card)).read()
    assert series(meter, GPU_INFO)[0]["name"] == "unknown"


def test_a_divided_card_shows_its_instances_memory(meter: Meter) -> None:
    card = FakeCard(instances=[FakeCard(uuid="MIG-1", used=GB), None, FakeCard(used=2 * GB)])
    NvmlProbe(meter, nvml=FakeNvml(card)).read()
    assert value(meter, GPU_MEMORY_USED, gpu="0/0") == GB
    assert value(meter, GPU_MEMORY_USED, gpu="0/2") == 2 * GB
    assert {found["gpu"] for found in series(meter, GPU_UTILIZATION)} == {"0"}
    assert {found["gpu"] for found in series(meter, GPU_INFO)} == {"0", "0/0", "0/2"}


def test_an_instance_that_is_destroyed_takes_its_series_with_it(meter: Meter) -> None:
    card = FakeCard(instances=[FakeCard(uuid="MIG-1"), FakeCard(uuid="MIG-2")])
    probe = NvmlProbe(meter, nvml=FakeNvml(card))
    probe.read()
    card.instances[1] = None
    probe.read()
    assert labels(meter) == {"0", "0/0"}


def test_energy_follows_the_card_also_when_it_starts_anew(meter: Meter) -> None:
    card = FakeCard(millijoules=5_000)
    probe = NvmlProbe(meter, nvml=FakeNvml(card))
    for millijoules in (5_000, 9_000, 1_000):
        card.millijoules = millijoules
        probe.read()
    assert value(meter, GPU_ENERGY) == 10


def test_a_machine_without_a_driver_is_silently_without_cards(meter: Meter) -> None:
    probe = NvmlProbe(meter, nvml=FakeNvml(FakeCard(), driver=False))
    assert not probe.read()
    probe.close()
    assert labels(meter) == set()
    assert value(meter, PROBE_FAILURES) == 0


def test_the_real_library_on_this_machine_does_no_harm(meter: Meter) -> None:
    probe = NvmlProbe(meter)
    assert probe.read() == bool(labels(meter))
    probe.close()
    assert value(meter, PROBE_FAILURES) == 0


def test_the_library_is_let_go_once(meter: Meter) -> None:
    nvml = FakeNvml(FakeCard())
    probe = NvmlProbe(meter, nvml=nvml)
    probe.read()
    assert nvml.sessions == 1
    probe.close()
    probe.close()
    assert nvml.sessions == 0


def test_every_name_that_the_probe_uses_is_in_the_real_library_and_in_the_fake() -> None:
    names = set(re.findall(r"_?nvml\.((?:nvml|NVML)\w+)", getsource(room)))
    assert len(names) > 15
    fake = FakeNvml()
    for name in names:
        assert hasattr(pynvml, name), name
        assert getattr(fake, name) is not None
    constants = {name for name in names if name.startswith("NVML_")}
    assert {n: getattr(fake, n) for n in constants} == {n: getattr(pynvml, n) for n in constants}
