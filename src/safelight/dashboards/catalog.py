"""All dashboards, in the order of the documentation, and where to look next from each."""

from dataclasses import replace

from safelight.dashboards.board import Board
from safelight.dashboards.boards.denoising import denoising
from safelight.dashboards.boards.engine import engine
from safelight.dashboards.boards.fleet import fleet
from safelight.dashboards.boards.gpus import gpus
from safelight.dashboards.boards.hosts import hosts
from safelight.dashboards.boards.instructions import instructions
from safelight.dashboards.boards.live import live
from safelight.dashboards.boards.quality import quality
from safelight.dashboards.boards.recognition import recognition
from safelight.dashboards.boards.request import request
from safelight.dashboards.boards.slo import slo
from safelight.dashboards.boards.watcher import watcher
from safelight.dashboards.boards.web import web
from safelight.dashboards.boards.zimage import zimage
from safelight.rules.thresholds import Thresholds

_BOARDS = (
    live,
    request,
    denoising,
    engine,
    instructions,
    quality,
    gpus,
    hosts,
    recognition,
    zimage,
    web,
    slo,
    fleet,
    watcher,
)

_LIVE, _REQUEST, _DENOISING = "safelight-live", "safelight-request", "safelight-denoising"
_ENGINE, _INSTRUCTIONS = "safelight-engine", "safelight-instructions"
_GPUS, _HOSTS = "safelight-cards-and-memory", "safelight-hosts"
# From an alert to its cause: Live says what is wrong, Request where the time goes.
_ONWARD = {
    _LIVE: (_REQUEST, _INSTRUCTIONS, _ENGINE, _GPUS, "safelight-slo"),
    _REQUEST: (_DENOISING, _ENGINE, _GPUS, _INSTRUCTIONS, _LIVE),
    _DENOISING: (_GPUS, _ENGINE, _REQUEST, _LIVE),
    _ENGINE: (_GPUS, _REQUEST, _HOSTS, _LIVE),
    _INSTRUCTIONS: ("safelight-quality-of-service", _REQUEST, _DENOISING, _LIVE),
    _GPUS: (_DENOISING, _HOSTS, _ENGINE, _LIVE),
}


def boards(limits: Thresholds | None = None) -> tuple[Board, ...]:
    """Return all dashboards. The service is chosen on the dashboard."""
    built = (board(limits or Thresholds()) for board in _BOARDS)
    return tuple(replace(each, onward=_ONWARD.get(each.uid, (_LIVE,))) for each in built)
