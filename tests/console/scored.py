"""Records with good, bad and disputed instruction types, some with images."""

import random

from safelight.records.database import Batch
from safelight.records.rows import Origin, Rating, assessment_row, rating_row, request_row
from safelight.records.schema import SAMPLES
from safelight.stack.tools.samples import photo
from tests.records import making
from tests.records.making import a_call, a_record, an_assessment

SUCCESS = {"make_him_old": 0.99, "add_object": 0.8, "change_background": 0.4, "change_style": 0.95}
STEPS = (8, 20, 50)
EACH = 90


def write_records(url: str, now: float, count: int = EACH * len(SUCCESS)) -> None:
    """Write requests of each type in turn: more steps take longer and are a little better."""
    chance, batch = random.Random(5), Batch()
    for number in range(count):
        kind = list(SUCCESS)[number % len(SUCCESS)]
        name, at = f"r{number:04}", now - 600 + number
        steps = STEPS[number // len(SUCCESS) % len(STEPS)]
        fails = chance.random() > SUCCESS[kind]
        call = a_call(step_seconds=(0.05,) * steps, steps_asked=steps, images=((512, 512),))
        record = a_record(
            name,
            instruction_type=kind,
            status_code=503 if fails else 200,
            error="timeout" if fails else "none",
            seconds=0.5 + 0.05 * steps + chance.random() / 10,
            calls=(call,),
        )
        batch.requests.append(request_row(record, at, Origin("tests", "m"), "salt"))
        score = 0.5 + 0.1 * STEPS.index(steps) + chance.random() / 10
        found = an_assessment(name, instruction_type=kind, score=score, structure=0.8)
        batch.assessments.append(assessment_row(found, at))
        if number % 6 == 0:
            stars = 1 if number == 6 else min(5, 2 + STEPS.index(steps) + chance.randrange(2))
            batch.ratings.append(rating_row(Rating(name, kind, stars, "none"), at))
    with making.opened(url) as database:
        database.write(batch, 20)
        images = [
            {
                "request_id": f"r{number:04}",
                "at": now - 600 + number,
                "instruction_type": list(SUCCESS)[number % len(SUCCESS)],
                "failed": False,
                "before": photo(64, 64),
                "after": photo(64, 64),
            }
            for number in range(min(24, count))
        ]
        with database.engine.begin() as connection:
            connection.execute(SAMPLES.insert(), images)
