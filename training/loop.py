"""A training loop that reports its progress and resumes from a checkpoint."""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol

import torch
from torch import nn

_REPORT_SECONDS = 30
_RATE = 6e-4
_AVERAGE_FRACTION = 50  # the weights are averaged over about a fiftieth of the steps

Losses = tuple[float, float]


class Training:
    """Trains modules to minimise a loss, and writes checkpoints.

    The learning rate rises over the first 3 % of the steps and then falls to zero along a cosine.
    The result is an exponential moving average of the weights (`average`).
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
        self._decay = 1 - _AVERAGE_FRACTION / steps
        self._rate = rate
        self.done = 0
        self._start_cycle()
        if checkpoint.exists():
            self._resume()

    def run(self, loss_of: Callable[[int], torch.Tensor], report: Callable[[str], None]) -> Losses:
        """Run the remaining steps; return the mean losses of the first and the last tenth."""
        started = reported = time.monotonic()
        first = self.done
        losses: list[float] = []
        while self.done < self._steps:
            loss = loss_of(self.done)
            self._step(loss)
            losses.append(loss.item())
            if time.monotonic() - reported > _REPORT_SECONDS or self.done == self._steps:
                reported = time.monotonic()
                rest = (reported - started) / (self.done - first) * (self._steps - self.done)
                recent = fmean(losses[-100:])
                step = f"step {self.done} of {self._steps}"
                report(f"{step}, loss {recent:.4f}, {rest / 60:.0f} min left")
                self._save()
        tenth = max(1, len(losses) // 10)
        return fmean(losses[:tenth] or [0.0]), fmean(losses[-tenth:] or [0.0])

    def use_average(self) -> None:
        """Load the averaged weights into the modules."""
        self.modules.load_state_dict(self.average)

    def _step(self, loss: torch.Tensor) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.modules.parameters(), 1.0)
        self._optimizer.step()
        self._schedule.step()
        self.done += 1
        decay = max(0.0, min(self._decay, self.done / (self.done + 10)))
        with torch.no_grad():
            for name, value in self.modules.state_dict().items():
                if value.is_floating_point():
                    self.average[name].lerp_(value, 1 - decay)
                else:
                    self.average[name].copy_(value)

    def _start_cycle(self) -> None:
        """Start a cycle of the learning rate over the remaining steps."""
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
            self._start_cycle()  # more steps than planned: they get a cycle of their own
            return
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])


class Course(Protocol):
    """The models of a pipeline and their training data."""

    modules: nn.ModuleDict
    tokenizer: Any

    def loss(self, step: int) -> torch.Tensor:
        """Return the loss of the batch of a step."""


def train_pipeline(
    course: Course, name: str, folder: Path, steps: int, report: Callable[[str], None]
) -> Losses:
    """Train a pipeline's models and save them in half precision; return first and last loss."""
    training = Training(course.modules, folder / f"{name}.pt", steps=steps, rate=_RATE)
    losses = training.run(course.loss, report)
    training.use_average()
    parts: dict[str, Any] = dict(course.modules.items())
    for part, module in parts.items():
        module.half().save_pretrained(folder / name / part)
    course.tokenizer.save_pretrained(folder / name / "tokenizer")
    return losses


def main(train: Callable[..., Losses], what: str | None, steps: int, **flags: str) -> None:
    """Train with the options of the command line; `flags` are additional ones with their help."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--folder", type=Path, default=Path("training/runs"))
    parser.add_argument("--steps", type=int, default=steps)
    for flag, text in flags.items():
        parser.add_argument(f"--{flag}", action="store_true", help=text)
    options = vars(parser.parse_args())
    options["folder"].mkdir(parents=True, exist_ok=True)
    train(**options)
