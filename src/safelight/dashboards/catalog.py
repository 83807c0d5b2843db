"""All dashboards, in the order of the documentation."""

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


def boards(limits: Thresholds | None = None) -> tuple[Board, ...]:
    """Return all dashboards. The service is chosen on the dashboard."""
    return tuple(board(limits or Thresholds()) for board in _BOARDS)
