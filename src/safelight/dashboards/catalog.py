"""Every board, in the order in which a reader would open them. Adding one is adding a row."""

from safelight.dashboards.board import Board
from safelight.dashboards.boards.denoising import denoising
from safelight.dashboards.boards.engine import engine
from safelight.dashboards.boards.fleet import fleet
from safelight.dashboards.boards.gpus import cards
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
    cards,
    hosts,
    recognition,
    zimage,
    web,
    slo,
    fleet,
    watcher,
)


def boards(limits: Thresholds | None = None) -> tuple[Board, ...]:
    """Return every board; which service it shows is chosen on the board itself."""
    return tuple(board(limits or Thresholds()) for board in _BOARDS)
