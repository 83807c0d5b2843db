"""Generate the Helm chart of a service.

Its templates, in the folder `chart`, give the same manifests as the Kustomize export: a test
compares them. A chart belongs to one service, because its rules contain the service's namespace.
"""

import json
from collections.abc import Mapping
from importlib.metadata import version
from importlib.resources import files

from safelight.stack.files.document import header, yaml_text
from safelight.stack.files.manifests import resource_name
from safelight.stack.files.operator import fitting
from safelight.stack.files.values import Values, values_document, values_schema

_HEADER = header("chart", "with --values")
_USAGE = """\
# Install: helm install {name} helm
# Own values: helm install {name} helm --values my-values.yaml  (values.schema.json explains them)
"""
_KUBERNETES = ">=1.30.0-0"


def chart_files(
    namespace: str, values: Values, rules: Mapping[str, str], boards: Mapping[str, str]
) -> dict[str, str]:
    """Return every file of the chart by path.

    `rules` has the texts of `rules.yaml` and `shared.yaml`; `boards` are the dashboards' JSON by
    file name.
    """
    name = resource_name(namespace)
    chart = {
        "apiVersion": "v2",
        "name": name,
        "description": f"The image-model service {namespace}, measured down to each denoising step",
        "type": "application",
        "version": version("safelight"),
        "appVersion": version("safelight"),
        "kubeVersion": _KUBERNETES,
        "annotations": {"safelight/namespace": namespace},
    }
    return {
        "Chart.yaml": yaml_text(chart, _HEADER),
        "values.yaml": yaml_text(values_document(values), _HEADER + _USAGE.format(name=name)),
        "values.schema.json": _schema(),
        **{f"files/{file}": text for file, text in rules.items()},
        **{f"files/boards/{file}": fitting(text) for file, text in boards.items()},
        **{f"templates/{file}": text for file, text in _templates().items()},
    }


def _schema() -> str:
    """Return the schema of the values; its first line says where it comes from."""
    comment = json.dumps({"$comment": _HEADER.removeprefix("# ").strip()})
    return f"{comment[:-1]},\n{json.dumps(values_schema(), indent=2)[2:]}\n"


def _templates() -> dict[str, str]:
    """Return the chart's templates, below a comment that says where they come from."""
    folder = files("safelight.stack.files") / "chart" / "templates"
    texts = {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir()}
    return {name: _marked(texts[name]) for name in sorted(texts)}


def _marked(text: str) -> str:
    comment = _HEADER.removeprefix("# ").rstrip()
    return f"{{{{- /* {comment} */ -}}}}\n{text}"
