"""All dashboards, in the order of the documentation, and where to look next from each."""

from dataclasses import replace

from safelight.dashboards.board import Board
from safelight.dashboards.boards.denoising import denoising
from safelight.dashboards.boards.engine import engine
from safelight.dashboards.boards.gpus import gpus
from safelight.dashboards.boards.instructions import instructions
from safelight.dashboards.boards.live import live
from safelight.dashboards.boards.quality import quality
from safelight.dashboards.boards.recognition import recognition
from safelight.dashboards.boards.request import request
from safelight.dashboards.boards.slo import slo
from safelight.dashboards.boards.watcher import watcher
from safelight.dashboards.boards.web import web
from safelight.dashboards.boards.zimage import zimage
from safelight.rules.leads import LEADS
from safelight.rules.thresholds import Thresholds
from safelight.rules.uids import (
    DENOISING,
    ENGINE,
    GPUS,
    INSTRUCTIONS,
    LIVE,
    QUALITY,
    REQUEST,
    SLO,
    WATCHER,
    WEB,
)

_BOARDS = (
    live,
    request,
    denoising,
    engine,
    instructions,
    quality,
    gpus,
    slo,
    watcher,
    web,
    recognition,
    zimage,
)

# From an alert to its cause: Live says what is wrong, Request where the time goes.
_ONWARD = {
    LIVE: (REQUEST, INSTRUCTIONS, ENGINE, GPUS, SLO),
    REQUEST: (DENOISING, ENGINE, GPUS, INSTRUCTIONS, LIVE),
    DENOISING: (GPUS, ENGINE, REQUEST, LIVE),
    ENGINE: (GPUS, REQUEST, INSTRUCTIONS, LIVE),
    INSTRUCTIONS: (QUALITY, REQUEST, DENOISING, LIVE),
    QUALITY: (INSTRUCTIONS, DENOISING, LIVE),
    GPUS: (DENOISING, ENGINE, LIVE),
    SLO: (REQUEST, INSTRUCTIONS, LIVE),
    WATCHER: (WEB, LIVE),
    WEB: (REQUEST, GPUS, WATCHER, LIVE),
}


def boards(limits: Thresholds | None = None) -> tuple[Board, ...]:
    """Return all dashboards. The service is chosen on the dashboard."""
    built = (board(limits or Thresholds()) for board in _BOARDS)
    return tuple(
        replace(
            each,
            alerts=tuple(LEADS.get(each.uid, ())),
            onward=_ONWARD.get(each.uid, (REQUEST, ENGINE, LIVE)),
        )
        for each in built
    )
