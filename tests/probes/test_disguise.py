"""Watched objects stay what they are: copies, pickles, memory, and no trace afterwards (W7)."""

import copy
import gc
import io
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import cloudpickle
import pytest
import torch
from diffusers import (
    AutoPipelineForImage2Image,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
)
from fastapi import FastAPI
from flask import Flask

from safelight import watch
from safelight.metrics.catalog import STEPS
from safelight.probes.disguise import probe_of
from tests.pipelines import STEPS as MADE
from tests.pipelines import draw, edit, edit_pipeline, text_pipeline
from tests.probes.web import ask
from tests.reading import at_once, value

Copy = Callable[[Any], Any]


def saved(pipe: Any) -> Any:
    buffer = io.BytesIO()
    torch.save(pipe, buffer)
    return torch.load(io.BytesIO(buffer.getvalue()), weights_only=False)


COPIES: dict[str, Copy] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda pipe: pickle.loads(pickle.dumps(pipe)),
    "old pickle": lambda pipe: pickle.loads(pickle.dumps(pipe, 2)),
    "cloudpickle": lambda pipe: cloudpickle.loads(cloudpickle.dumps(pipe)),
    "torch.save": saved,
}


@pytest.mark.parametrize("make", COPIES.values(), ids=COPIES.keys())
def test_w7_a_copy_works_and_is_not_watched(make: Copy) -> None:
    pipe = edit_pipeline()
    with watch(pipeline=pipe) as watched:
        edit(pipe)
        twin = make(pipe)
        assert type(twin) is type(edit_pipeline())
        assert probe_of(twin) is None
        assert probe_of(twin.scheduler) is None
        edit(twin)
        assert value(watched, STEPS, "_sum") == MADE
        with watch(pipeline=twin, namespace="twin") as own:
            edit(twin)
            assert value(own, STEPS, "_sum") == MADE


def test_w7_a_pipeline_that_is_copied_for_each_request_is_watched() -> None:
    """As huggingface/diffusers' server-async example does (its pull request #12328)."""
    pipe = text_pipeline(edit_pipeline())
    with watch(pipeline=pipe) as watched:
        kept = copy.copy(pipe)
        views = [copy.copy(pipe) for _ in range(3)]
        for view in views:
            view.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)
            draw(view)
        draw(kept)
        draw(copy.copy(kept))
        assert value(watched, STEPS, "_count") == 5
        assert value(watched, STEPS, "_sum") == 5 * MADE
        assert vars(copy.copy(pipe)) == vars(pipe)
        held = weakref.ref(views[0])
        del view, views
        gc.collect()
        assert held() is None
    draw(kept)
    assert type(kept) is type(pipe) is StableDiffusionPipeline
    assert value(watched, STEPS, "_count") == 5


def test_copies_in_many_threads_are_all_restored() -> None:
    pipe = text_pipeline(edit_pipeline())
    kept: list[Any] = []
    with watch(pipeline=pipe):
        at_once(lambda _: kept.extend(copy.copy(pipe) for _ in range(20)))
        assert all(probe_of(each) is not None for each in kept)
    assert {type(each) for each in kept} == {StableDiffusionPipeline}


def test_w7_a_deleted_pipeline_frees_its_memory() -> None:
    pipe = edit_pipeline()
    with watch(pipeline=pipe):
        edit(pipe)
        unet = weakref.ref(pipe.unet)
        del pipe
        gc.collect()
        assert unet() is None


def test_w7_after_unwatch_no_trace_is_left() -> None:
    pipe, app, plain = edit_pipeline(), FastAPI(), Flask("service")
    edit(pipe)
    objects = (pipe, pipe.scheduler, pipe.unet, pipe.vae, app, plain)
    before = [(type(each), set(vars(each))) for each in objects]
    config = dict(pipe.config)
    watches = [watch(app=app, pipeline=pipe), watch(app=plain)]
    edit(pipe)
    ask(app, "/")
    plain.test_client().get("/")
    for each in watches:
        each.unwatch()
    assert [(type(each), set(vars(each))) for each in objects] == before
    assert dict(pipe.config) == config
    assert plain.before_request_funcs == {}


def test_w7_from_pipe_and_save_work_on_a_watched_pipeline(tmp_path: Any) -> None:
    pipe = text_pipeline(edit_pipeline())
    with watch(pipeline=pipe) as watched:
        other = AutoPipelineForImage2Image.from_pipe(pipe)
        assert probe_of(other) is None
        pipe.save_pretrained(tmp_path)
        loaded = DiffusionPipeline.from_pretrained(tmp_path)
        assert type(loaded).__name__ == "StableDiffusionPipeline"
        draw(loaded)
        draw(pipe)
        assert value(watched, STEPS, "_count") == 1


def greet() -> str:
    return "hello"


def test_w7_an_application_survives_cloudpickle_as_ray_serve_uses_it() -> None:
    app = FastAPI()
    app.get("/hello")(greet)
    del app.state  # Starlette 1.10 cannot unpickle its own State, also without Safelight
    with watch(app=app):
        ask(app, "/hello")
        twin = cloudpickle.loads(cloudpickle.dumps(app))
        assert isinstance(app, FastAPI)
    assert type(twin) is FastAPI
    assert ask(twin, "/hello").json() == "hello"


class Copied:
    """A class with copy methods of its own, which keep the class of the object."""

    def __init__(self, number: int = 0) -> None:
        self.number = number

    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return []

    def __copy__(self) -> "Copied":
        return type(self)(self.number)

    def __deepcopy__(self, memo: Any) -> "Copied":
        return type(self)(self.number)

    def __reduce__(self) -> Any:
        return (type(self), (self.number,))


@pytest.mark.parametrize(
    "make", [copy.copy, copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))]
)
def test_copy_methods_of_the_class_itself_give_an_unwatched_object(make: Copy) -> None:
    app = Copied(7)
    with watch(app=app):
        twin = make(app)
        assert type(twin) is Copied
        assert twin.number == 7
