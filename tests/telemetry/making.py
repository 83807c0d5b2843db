"""A pipeline call and a record for tests."""

from dataclasses import fields, replace
from typing import Any

from safelight.telemetry.record import Facts, PipelineCall, Record

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALL = PipelineCall(
    pipeline="StableDiffusionInstructPix2PixPipeline",
    instruction_type="make_him_old",
    precision="float16",
    seconds=1.5,
    phases={"encode_prompt": 0.1, "denoise": 1.2, "decode_latents": 0.2},
    step_seconds=(0.4,) * 5 + (0.02,) * 7,
    steps_asked=12,
    guidance_asked=7.5,
    guidance_in_force=7.5,
    image_guidance_asked=1.5,
    image_guidance_in_force=1.5,
    images=((1024, 768),),
)
RECORD = Record(
    Facts(id="one", instruction_type="make_him_old", queued=True, calls=(CALL,)),
    endpoint="/edit",
    status_code=200,
    error="none",
    seconds=2.0,
    stages={"receive": 0.1, "queue": 0.3, "denoise": 1.2, "respond": 0.4},
)
_FACTS = {field.name for field in fields(Facts)}


def changed(record: Record, **changes: Any) -> Record:
    """Return a record with other values for fields of the record or of its facts."""
    facts = {name: value for name, value in changes.items() if name in _FACTS}
    rest = {name: value for name, value in changes.items() if name not in _FACTS}
    return replace(record, facts=replace(record.facts, **facts), **rest)
