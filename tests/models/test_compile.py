"""Compiled models: calls that compile are separated from typical calls.

The graphs are really traced, and then run as they are: a C++ compiler would take a minute for each.
"""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from safelight.metrics.catalog import INFERENCE_SECONDS, STEP_SECONDS, WARM_UPS
from safelight.metrics.registry import Meter
from safelight.models.backend import Backend, Edit, ModelOrder, Recognition
from safelight.models.load import load_backend
from safelight.probes.diffusers import DiffusersProbe
from safelight.probes.torch import compilations
from safelight.serving.worker.reporter import Call
from safelight.telemetry.meter import metrics_sink
from safelight.telemetry.record import record_of_call
from tests.pipelines import classifier, picture
from tests.reading import value
from tests.untrained import build_edit


@pytest.fixture(autouse=True)
def traced_alone(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    yield
    torch.compiler.reset()


def load(folder: Path) -> Backend:
    return load_backend(ModelOrder(str(folder), "cpu", "float32", compile=True, warm_up=False))


def silent(_step: int, _latents: Any) -> None:
    """Hear of a step, and do nothing."""


def test_the_first_call_compiles_and_the_next_does_not(tmp_path: Path) -> None:
    backend = load(classifier(tmp_path, several=False))
    before = compilations()
    backend.run([Recognition(picture(), 1)], silent)
    first = compilations()
    backend.run([Recognition(picture(), 1)], silent)
    assert before < first == compilations()


def test_an_edit_that_compiled_is_a_warm_up_and_in_no_histogram_of_the_models_time(
    tmp_path: Path,
) -> None:
    build_edit().save_pretrained(tmp_path)
    backend = load(tmp_path)
    listener, meter = Call(), Meter("tests")
    write = metrics_sink(meter)
    probe = DiffusersProbe(backend.pipeline, listener)
    edit = Edit(picture(), "make him old", "", 2, 7.5, 1.5, seed=1)
    marks = []
    for _ in range(3):
        backend.run([edit], silent)
        assert listener.last is not None
        marks.append(listener.last.warm_up)
        write(record_of_call(listener.last))
    probe.unwatch()

    assert marks == [True, False, False]
    assert value(meter, WARM_UPS) == 1
    assert value(meter, INFERENCE_SECONDS, "_count") == 2
    assert value(meter, STEP_SECONDS, "_count") == 4
