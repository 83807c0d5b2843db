"""Run every example of docs/watching.md, and call every route that it makes."""

import re
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
from fastapi import FastAPI
from onnx import TensorProto, helper
from starlette.routing import Route
from transformers import AutoImageProcessor, ImageClassificationPipeline
from transformers import ResNetForImageClassification as Classifier

import safelight
from safelight.metrics.catalog import HTTP_REQUESTS, MODEL_REQUESTS
from safelight.stories.replay import free_port
from safelight.watching import Watch
from tests.pipelines import classifier, text_pipeline
from tests.probes.web import ask
from tests.reading import series

PAGE = (Path(__file__).parents[2] / "docs" / "watching.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
HELPERS = EXAMPLES[0][EXAMPLES[0].index("def png") : EXAMPLES[0].index("@app.post")]


def session(folder: Path) -> Any:
    shape = ["n", 3, "h", "w"]
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "ab"]
    node = helper.make_node("Identity", ["a"], ["b"])
    graph = helper.make_graph([node], "same", tensors[:1], tensors[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "same.onnx")
    return onnxruntime.InferenceSession(folder / "same.onnx", providers=["CPUExecutionProvider"])


def quick(pipe: Any) -> Any:
    """Make a pipeline's defaults small: 64 x 64 pixels."""
    drawing = text_pipeline(pipe)
    drawing.unet.register_to_config(sample_size=8)
    return drawing


@pytest.fixture
def names(edit_pipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return what the examples take for granted."""
    monkeypatch.setenv("SAFELIGHT_STATE_FOLDER", str(tmp_path))
    port = free_port()
    serve = Watch.serve
    monkeypatch.setattr(Watch, "serve", lambda watched, **_: serve(watched, port))
    folder = classifier(tmp_path, several=False)
    names: dict[str, Any] = {
        "safelight": safelight,
        "app": FastAPI(),
        "admin": FastAPI(),
        **{name: quick(edit_pipe) for name in ("pipe", "base", "refiner")},
        "classifier": ImageClassificationPipeline(
            model=Classifier.from_pretrained(folder),
            image_processor=AutoImageProcessor.from_pretrained(folder),
        ),
        "session": session(tmp_path),
    }
    exec(
        EXAMPLES[0][: EXAMPLES[0].index("import safelight")]
        + "from fastapi import Response\n"
        + HELPERS,
        names,
    )
    return names


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_runs_and_its_routes_are_counted(
    example: str, names: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    watches: list[Watch] = []
    begin = safelight.watch

    def watch(**arguments: Any) -> Watch:
        watches.append(begin(**arguments))
        return watches[-1]

    monkeypatch.setattr(safelight, "watch", watch)
    try:
        exec(example, names)
        routes = [
            each.path
            for each in names["app"].routes
            if isinstance(each, Route) and "POST" in (each.methods or ())
        ]
        for path in routes:
            assert ask(names["app"], path, "POST", params={"prompt": "a hat"}).status_code == 200
            assert series(watches[0], HTTP_REQUESTS, handler=path, status="200")
            assert series(watches[0], MODEL_REQUESTS, status="success")
    finally:
        for each in watches:
            each.unwatch()
    assert watches


def test_every_argument_of_watch_is_explained() -> None:
    table = PAGE[: PAGE.index("## I run gunicorn")]
    rows = re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE)
    assert rows == list(safelight.watch.__annotations__)[: len(rows)]
    assert set(safelight.watch.__annotations__) - {"return"} == set(rows)


def test_the_anchor_that_other_pages_link_to_is_there() -> None:
    assert "## Your own instruction types" in PAGE
    assert "## I have no web application" in PAGE
