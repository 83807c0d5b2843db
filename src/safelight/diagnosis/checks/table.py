"""Table of all checks, used by the diagnosis and by the documentation."""

from safelight.diagnosis.checks.event_loop import LOOP_CHECKS
from safelight.diagnosis.checks.fleet import FLEET_CHECKS
from safelight.diagnosis.checks.golden import GOLDEN_CHECKS
from safelight.diagnosis.checks.gpus import GPU_CHECKS
from safelight.diagnosis.checks.hosts import HOST_CHECKS
from safelight.diagnosis.checks.image_quality import QUALITY_CHECKS
from safelight.diagnosis.checks.load import LOAD_CHECKS
from safelight.diagnosis.checks.memory import MEMORY_CHECKS
from safelight.diagnosis.checks.outputs import OUTPUT_CHECKS
from safelight.diagnosis.checks.stages import STAGE_CHECKS
from safelight.diagnosis.checks.steps import STEP_CHECKS
from safelight.diagnosis.checks.targets import TARGET_CHECKS
from safelight.diagnosis.finding import Check

CHECKS: tuple[Check, ...] = (
    *STAGE_CHECKS,
    *LOAD_CHECKS,
    *STEP_CHECKS,
    *GPU_CHECKS,
    *MEMORY_CHECKS,
    *OUTPUT_CHECKS,
    *GOLDEN_CHECKS,
    *QUALITY_CHECKS,
    *HOST_CHECKS,
    *LOOP_CHECKS,
    *FLEET_CHECKS,
    *TARGET_CHECKS,
)
