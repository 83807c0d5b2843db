"""The log lines of a real service, and what is wrong with a line by the table of fields."""

import csv
import json
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from safelight.telemetry.fields import BY_NAME, LABELS, Field
from tests.faults.conftest import QUICK
from tests.serving.conftest import answers, serving, until
from tests.serving.jobs import PICTURE
from tests.serving.running import PAINTER

Line = dict[str, Any]
SECRET = "rumpelstiltskin"
KEY = "0f" * 16
NASTY = 'x\n{"message":"forged","log.level":"error"}\x1b[31m\u2028\u0085'
_KINDS: dict[str, tuple[type, ...]] = {
    "keyword": (str,),
    "wildcard": (str,),
    "match_only_text": (str,),
    "long": (int,),
    "double": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "flattened": (dict,),
}


def flat(line: Line, prefix: str = "") -> Line:
    """Return the fields of a line under dotted names, as far as the table names them."""
    found: Line = {}
    for name, inner in line.items():
        if isinstance(inner, dict) and prefix + name not in BY_NAME:
            found |= flat(inner, f"{prefix}{name}.")
        else:
            found[prefix + name] = inner
    return found


def complaints(line: Line) -> list[str]:
    """Return the fields of a line that are not in the table, or have another type there."""
    return [
        f"{name}={value!r}"
        for name, value in flat(line).items()
        if value is not None and (name not in BY_NAME or not _fits(BY_NAME[name], value))
    ]


def _fits(field: Field, value: Any) -> bool:
    values = value if field.listed and isinstance(value, list) else [value]
    if field.listed and not isinstance(value, list):
        return False
    if field.type == "date":
        return isinstance(value, str) and bool(datetime.fromisoformat(value))
    if any(isinstance(each, bool) for each in values) and field.type != "boolean":
        return False
    if field.name == LABELS:
        return all(isinstance(text, str) and "." not in name for name, text in value.items())
    return all(isinstance(each, _KINDS[field.type]) for each in values)


@cache
def ecs_types() -> dict[str, tuple[str, str]]:
    """Return the type and the normalization of each field of ECS."""
    with (Path(__file__).parent / "ecs" / "fields.csv").open() as file:
        return {row["Field"]: (row["Type"], row["Normalization"]) for row in csv.DictReader(file)}


def lines_of_a_service(folder: Path) -> list[str]:
    """Return the lines of a service that serves, fails, is attacked and loses a worker."""
    limits = {**QUICK, "breaker_failures": "2", "structure_floor": "0"}
    with serving(folder, PAINTER, calm=False, **limits) as service:
        client, kind = service.client, {"content-type": "image/jpeg"}
        trace = {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01", "x-request-id": KEY}
        asked = {"instruction": f"make him {SECRET}", "steps": "2"}
        service.edit(seed=3, instruction=asked["instruction"]).raise_for_status()
        client.post("/api/edit", params=asked, headers={**kind, **trace}, content=PICTURE)
        service.edit(image=b"no image")
        service.edit(instruction=f"raise {SECRET}")
        client.get(f"/{SECRET}", params={"q": NASTY})
        client.post(f"/api/{SECRET}%0a%1b[31m%22", content=NASTY.encode())
        bad = {**kind, "x-request-id": f"{SECRET}\t\x7f'\"", "user-agent": SECRET}
        client.post("/api/edit", params=asked, headers=bad, content=PICTURE)
        for _ in range(3):
            service.edit(instruction=f"die {SECRET}")
        assert until(lambda: answers(f"{service.url}/readyz"), 30)
    return (folder / "log").read_text().split("\n")[:-1]


def parsed(lines: list[str]) -> list[Line]:
    """Return the lines as objects. Raises ValueError if one is not JSON."""
    return [json.loads(line) for line in lines]
