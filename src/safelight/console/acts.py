"""The closed table of what operators can do with the page Act. A table only."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

_MOST_LEVEL, _MOST_REQUESTS = 5, 100_000


class Nothing(BaseModel):
    """An action without parameters."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Level(Nothing):
    """What a pin needs."""

    level: int = Field(ge=0, le=_MOST_LEVEL)


class Plan(Nothing):
    """What a rollout begins with: the second model, rising shares in percent, and requests."""

    model: str = Field(min_length=1, max_length=1000)
    steps: list[Annotated[int, Field(ge=1, le=100)]] = Field(min_length=1, max_length=20)
    least: int = Field(ge=1, le=_MOST_REQUESTS)


@dataclass(frozen=True, slots=True)
class Act:
    """An action: its button, what it will do, how it is undone, and the route of the service.

    `route` is as in the table of scopes; without one, the console does it itself. `action` fills
    the route's `{action}`. `full` is the title away from its row, if that says too little.
    """

    name: str
    title: str
    says: str
    undo: str
    route: str = ""
    action: str = ""
    parameters: type[Nothing] = Nothing
    is_dangerous: bool = False
    full: str = ""


_ROLLOUT = "POST /v1/rollout/{action}"
ACTS = (
    Act(
        "pin",
        "Pin a level",
        "The service keeps this degradation level for all callers, whatever the load is.",
        "Release the level.",
        "POST /v1/degradation/pin",
        parameters=Level,
    ),
    Act(
        "release",
        "Release the level",
        "The service chooses its degradation level by the load again.",
        "Pin the level again.",
        "POST /v1/degradation/release",
    ),
    Act(
        "drain",
        "Drain",
        "/readyz answers 503, so that load balancers send requests elsewhere. Requests that wait "
        "or run end normally, and what still comes is answered.",
        "End the drain; a restart ends it too.",
        "POST /v1/drain",
        is_dangerous=True,
    ),
    Act(
        "end_drain",
        "End the drain",
        "/readyz answers as before, so that load balancers send requests again.",
        "Drain again.",
        "POST /v1/drain/end",
    ),
    Act(
        "sleep",
        "Let it sleep",
        "The model's workers end, and the device gets its memory back. The next request loads the "
        "model, and waits for that.",
        "Wake the model.",
        "POST /v1/model/sleep",
    ),
    Act(
        "wake",
        "Wake",
        "The model is loaded again. This takes as long as at the start.",
        "Let it sleep.",
        "POST /v1/model/wake",
    ),
    Act(
        "canary",
        "Run the canary",
        "Each worker runs a golden input as soon as it is idle. Requests go first.",
        "Nothing to undo: it only measures.",
        "POST /v1/model/canary",
    ),
    Act(
        "enrol",
        "Enrol the model",
        "What the loaded model gives now is right from now on: the golden outputs are replaced.",
        "This cannot be undone: the earlier golden outputs are lost.",
        "POST /v1/model/canary/enrol",
        is_dangerous=True,
    ),
    Act(
        "rollout_start",
        "Start a rollout",
        "The first share of the callers gets the second model. The service goes on by itself when "
        "that is proven good, and back when it is bad.",
        "Abort the rollout.",
        _ROLLOUT,
        "start",
        Plan,
    ),
    Act(
        "rollout_pause",
        "Pause",
        "The rollout stays at this step. A bad second model is still rolled back.",
        "Resume the rollout.",
        _ROLLOUT,
        "pause",
        full="Pause the rollout",
    ),
    Act(
        "rollout_resume",
        "Resume",
        "The service decides again, with the evidence of this step.",
        "Pause the rollout.",
        _ROLLOUT,
        "resume",
        full="Resume the rollout",
    ),
    Act(
        "rollout_promote",
        "Promote",
        "The next share of the callers gets the second model, without proof that it is as good.",
        "There is no step back: abort the rollout, and every caller gets the first model.",
        _ROLLOUT,
        "promote",
        is_dangerous=True,
        full="Promote the rollout",
    ),
    Act(
        "rollout_abort",
        "Abort",
        "All callers get the first model from their next request on, and the second model ends.",
        "Start the rollout again, from its first step.",
        _ROLLOUT,
        "abort",
        is_dangerous=True,
        full="Abort the rollout",
    ),
    Act(
        "reload",
        "Reload limits",
        "The console reads its monitoring file again, and Prometheus its configuration and rules.",
        "Write the earlier values to the files, and reload again.",
    ),
)
BY_NAME = {act.name: act for act in ACTS}
