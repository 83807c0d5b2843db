"""Every board, in the order in which a reader would open them. Adding one is adding a row."""

from safelight.dashboards.boards.core import core_board
from safelight.dashboards.spec import Board
from safelight.rules.thresholds import Thresholds


def boards(limits: Thresholds | None = None) -> tuple[Board, ...]:
    """Return every board; which service it shows is chosen on the board itself."""
    return (core_board("instructpix2pix", limits),)
