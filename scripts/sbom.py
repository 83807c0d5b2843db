"""Write sbom.cdx.json, the CycloneDX bill of materials inside the wheel.

`make constraints` runs this. It lists the tested versions of what users install with each extra,
the weights and data inside the wheel, and the scripts of others that browsers run, each with its
licence.
"""

import hashlib
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts.licences import licence

ROOT = Path(__file__).parent.parent
FILE = ROOT / "sbom.cdx.json"
WEIGHTS = ROOT / "src" / "safelight" / "models" / "demo" / "weights"
TAXONOMY = ROOT / "src" / "safelight" / "quality" / "taxonomy.yaml"
ECHARTS = ROOT / "src" / "safelight" / "console" / "static" / "vendor" / "echarts.min.js"
DEVELOPMENT = "dev"
_OWN = [{"license": {"id": "Apache-2.0", "acknowledgement": "declared"}}]
_FACES = "data/painted-portraits"
_PACKAGE_FIELDS = ("type", "bom-ref", "name", "version", "purl", "licenses")

Component = dict[str, Any]


def shipped() -> set[str]:
    """Return the names of all packages that users install, with all extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    more = [line for extra, lines in extras.items() if extra != DEVELOPMENT for line in lines]
    return needed(map(Requirement, (*project["dependencies"], *more)))


def needed(requirements: Iterable[Requirement]) -> set[str]:
    """Return the names of installed packages that satisfy requirements, and of what these need."""
    found: set[tuple[str, str]] = set()
    waiting = [(each, extra) for each in requirements for extra in ("", *each.extras)]
    while waiting:
        requirement, extra = waiting.pop()
        key = (canonicalize_name(requirement.name), extra)
        if key in found:
            continue
        found.add(key)
        for each in map(Requirement, distribution(requirement.name).requires or ()):
            if each.marker is None or each.marker.evaluate({"extra": extra}):
                waiting += [(each, name) for name in ("", *each.extras)]
    return {name for name, _ in found}


def environment() -> dict[str, Any]:
    """Return the bill of materials of this environment, as cyclonedx-py writes it."""
    bin_folder = Path(sys.executable).parent
    options = ["--pyproject", "pyproject.toml", "--mc-type", "library", "--output-reproducible"]
    command = [str(bin_folder / "cyclonedx-py"), "environment", sys.executable, *options]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    return dict(json.loads(done.stdout))


def package(component: Component) -> Component:
    """Return what the bill says of a package. Its version is the same for each build of torch."""
    kept = {field: component[field] for field in _PACKAGE_FIELDS if field in component}
    kept.setdefault("licenses", [{"expression": licence(component["name"])}])
    return dict(json.loads(json.dumps(kept).replace("+cpu", "")))


def weights() -> Iterator[Component]:
    """Yield the models inside the wheel, each with the hashes of its files."""
    checksums = json.loads((WEIGHTS / "checksums.json").read_text())
    for card in sorted(WEIGHTS.glob("*/README.md")):
        title, _, text = card.read_text().partition("\n\n")
        folder = card.parent.name
        files = {
            name: digest for name, digest in checksums.items() if name.startswith(f"{folder}/")
        }
        yield {
            "type": "machine-learning-model",
            "bom-ref": f"weights/{folder}",
            "name": title.removeprefix("# "),
            "description": " ".join(text.partition("\n\n")[0].split()),
            "licenses": _OWN,
            "modelCard": {"modelParameters": {"datasets": [{"ref": _FACES}]}},
            "components": [file(f"weights/{name}", digest) for name, digest in files.items()],
        }


def data() -> Iterator[Component]:
    """Yield the data inside the wheel, and that from which the weights were made."""
    yield {
        "type": "data",
        "bom-ref": _FACES,
        "name": "painted portraits",
        "description": "safelight.models.demo paints them from seeds. They show no real person.",
        "licenses": _OWN,
    }
    yield {
        **file("data/taxonomy.yaml", hashlib.sha256(TAXONOMY.read_bytes()).hexdigest()),
        "type": "data",
        "description": "The types of instructions, and the words of each.",
        "licenses": _OWN,
    }


def scripts() -> Iterator[Component]:
    """Yield the scripts of others: of `/docs`, which comes with fastapi-swagger, and of charts."""
    path = distribution("fastapi-swagger").locate_file(
        "fastapi_swagger/resources/swagger-ui-bundle.js"
    )
    content = Path(str(path)).read_bytes()
    [version] = set(re.findall(rb'PACKAGE_VERSION:"([\d.]+)"', content))
    yield {
        **file("scripts/swagger-ui-bundle.js", hashlib.sha256(content).hexdigest()),
        "type": "library",
        "name": "swagger-ui",
        "version": version.decode(),
        "purl": f"pkg:npm/swagger-ui-dist@{version.decode()}",
        "description": "The page /docs serves it to browsers. It comes with fastapi-swagger.",
        "licenses": _OWN,  # the same licence
    }
    content = ECHARTS.read_bytes()
    [version] = set(re.findall(rb'\.version="(6[\d.]+)"', content))
    yield {
        **file("scripts/echarts.min.js", hashlib.sha256(content).hexdigest()),
        "type": "library",
        "name": "echarts",
        "version": version.decode(),
        "purl": f"pkg:npm/echarts@{version.decode()}",
        "description": "Draws the charts of the console. It is inside the wheel.",
        "licenses": _OWN,  # the same licence
    }


def file(name: str, digest: str) -> Component:
    """Return a file with its hash."""
    hashes = [{"alg": "SHA-256", "content": digest}]
    return {"type": "file", "bom-ref": name, "name": name, "hashes": hashes}


def bill() -> dict[str, Any]:
    """Return the bill of materials."""
    found = environment()
    names = shipped()
    packages = [
        package(each) for each in found["components"] if canonicalize_name(each["name"]) in names
    ]
    kept = {each["bom-ref"] for each in packages}
    graph = json.loads(json.dumps(found["dependencies"]).replace("+cpu", ""))
    root = found["metadata"]["component"]
    own = [*weights(), *data(), *scripts()]
    links = [
        {"ref": each["ref"], "dependsOn": sorted(kept.intersection(each.get("dependsOn", ())))}
        for each in graph
        if each["ref"] in {root["bom-ref"], *kept}
    ]
    return {
        "$schema": found["$schema"],
        "bomFormat": found["bomFormat"],
        "specVersion": found["specVersion"],
        "version": 1,
        "metadata": {"component": root},
        "components": [*packages, *own],
        "dependencies": links,
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(bill(), indent=1, ensure_ascii=False) + "\n")
