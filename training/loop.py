"""A training loop that tells how far it is, and goes on where it was cut off."""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol

import torch
from torch import nn

_EVERY_SECONDS = 30
_RATE = 6e-4
_MEAN_OVER = 50  # the mean of the weights reaches back over a fiftieth of the steps

Losses = tuple[float, float]


class Training:
    """Trains modules to make a loss small; checkpoints are written beside each other and moved.

    The learning rate rises over the first thirtieth of the steps and then falls to nothing along a
    cosine; a mean of the last weights is what is kept (`average`).
    """

    def __init__(
        self, modules: nn.ModuleDict, checkpoint: Path, *, steps: int, rate: float
    ) -> None:
        self.modules = modules
        self.average = {
            name: value.detach().clone() for name, value in modules.state_dict().items()
        }
        self._checkpoint = checkpoint
        self._steps = steps
        self._keep = 1 - _MEAN_OVER / steps
        self._rate = rate
        self.done = 0
        self._begin()
        if checkpoint.exists():
            self._resume()

    def run(self, loss_of: Callable[[int], torch.Tensor], say: Callable[[str], None]) -> Losses:
        """Train until all steps are done; return the mean losses of the first and last tenth."""
        began = told = time.monotonic()
        first = self.done
        losses: list[float] = []
        while self.done < self._steps:
            loss = loss_of(self.done)
            self._step(loss)
            losses.append(loss.item())
            if time.monotonic() - told > _EVERY_SECONDS or self.done == self._steps:
                told = time.monotonic()
                left = (told - began) / (self.done - first) * (self._steps - self.done)
                loss_now = fmean(losses[-100:])
                where = f"step {self.done} of {self._steps}"
                say(f"{where}, loss {loss_now:.4f}, {left / 60:.0f} min left")
                self._save()
        tenth = max(1, len(losses) // 10)
        return fmean(losses[:tenth] or [0.0]), fmean(losses[-tenth:] or [0.0])

    def keep_average(self) -> None:
        """Give the modules the mean of their weights over time."""
        self.modules.load_state_dict(self.average)

    def _step(self, loss: torch.Tensor) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.modules.parameters(), 1.0)
        self._optimizer.step()
        self._schedule.step()
        self.done += 1
        keep = max(0.0, min(self._keep, self.done / (self.done + 10)))
        with torch.no_grad():
            for name, value in self.modules.state_dict().items():
                if value.is_floating_point():
                    self.average[name].lerp_(value, 1 - keep)
                else:
                    self.average[name].copy_(value)

    def _begin(self) -> None:
        """Begin a cycle of the learning rate over the steps that are left."""
        trained = [value for value in self.modules.parameters() if value.requires_grad]
        self._optimizer = torch.optim.AdamW(trained, lr=self._rate, weight_decay=0.01)
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer, self._rate, total_steps=self._steps - self.done + 1, pct_start=0.03
        )

    def _save(self) -> None:
        state: dict[str, Any] = {
            "done": self.done,
            "steps": self._steps,
            "modules": self.modules.state_dict(),
            "average": self.average,
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
        }
        draft = self._checkpoint.with_suffix(".part")
        torch.save(state, draft)
        draft.replace(self._checkpoint)

    def _resume(self) -> None:
        state = torch.load(self._checkpoint, weights_only=True)
        self.done = state["done"]
        self.modules.load_state_dict(state["modules"])
        self.average = state["average"]
        if self.done < self._steps != state["steps"]:
            self._begin()  # longer than was planned: what is added has a cycle of its own
            return
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])


class Course(Protocol):
    """What a pipeline's parts learn, and from what."""

    modules: nn.ModuleDict
    tokenizer: Any

    def loss(self, step: int) -> torch.Tensor:
        """Return what is to be made small, for the batch of a step."""


def taught(
    course: Course, name: str, folder: Path, steps: int, say: Callable[[str], None]
) -> Losses:
    """Train a pipeline's parts, and save them in half precision; return first and last losses."""
    training = Training(course.modules, folder / f"{name}.pt", steps=steps, rate=_RATE)
    losses = training.run(course.loss, say)
    training.keep_average()
    parts: dict[str, Any] = dict(course.modules.items())
    for part, module in parts.items():
        module.half().save_pretrained(folder / name / part)
    course.tokenizer.save_pretrained(folder / name / "tokenizer")
    return losses


def main(train: Callable[..., Losses], what: str | None, steps: int, **flags: str) -> None:
    """Train as the command line asks; `flags` are further ones, with their help."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--folder", type=Path, default=Path("training/runs"))
    parser.add_argument("--steps", type=int, default=steps)
    for flag, said in flags.items():
        parser.add_argument(f"--{flag}", action="store_true", help=said)
    asked = vars(parser.parse_args())
    asked["folder"].mkdir(parents=True, exist_ok=True)
    train(**asked)
