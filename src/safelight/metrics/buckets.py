"""Buckets of the histograms, of the steps and of the image sizes.

Every limit of an alert or objective is an edge.
"""

from safelight.metrics.metric import OTHER

REQUEST = (0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0)
QUEUE = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0)
SIZE = (0.1, 0.25, 0.5, 1.0, 1.5, 3.0, 7.5, 30.0)  # few, because it has many series
STAGE = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0)
STEP = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0)
HTTP = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 3.0, 5.0, 15.0, 30.0, 60.0)
LAG = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BATCH = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128)
RATINGS = (1, 2, 3, 4, 5)
SCORE = (0.3, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9)
SIMILARITY = (0.25, 0.5, 0.75, 0.9)
ENTROPY = (1, 2, 3, 4, 5, 6, 6.5, 7, 8, 10)
STEPS = (1, 2, 4, 8, 10, 15, 20, 25, 30, 50, 75, 100)

STEP_PLACES = ("1-5", "6-10", "11-20", "21-50", "51+")
# fmt: off
IMAGE_SIZES = (
    "64x64", "128x128", "256x256", "384x384", "512x512", "640x640", "768x768", "1024x1024",
    "512x384", "384x512",
    "640x480", "480x640", "768x512", "512x768", "768x576", "576x768", "1024x576", "576x1024",
    "1024x680", "680x1024", "1024x768", "768x1024", "1216x832", "832x1216", "1280x720", "720x1280",
    "1920x1080", "1080x1920", "2048x2048",
)
# fmt: on


def step_place(step: int) -> str:
    """Return the label value for the position of a denoising step, counted from 1: `6-10`."""
    return STEP_PLACES[(step > 5) + (step > 10) + (step > 20) + (step > 50)]


def image_size(width: int, height: int) -> str:
    """Return the label value for an image size: `1024x768`, or `other` if it is not in the set."""
    size = f"{width}x{height}"
    return size if size in IMAGE_SIZES else OTHER
