"""The values of a deployment in Kubernetes: those of the Helm chart, which Kustomize shares.

`safelight export kubernetes --values FILE` reads the same file as `helm install --values FILE`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails

from safelight.errors import BadSetting
from safelight.stack.files.document import Document

_NAME = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"  # of a namespace: an RFC 1123 label
_NAME_IF_ANY = r"^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)?$"
_QUANTITY = r"^[1-9][0-9]*(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"
_LABEL = r"^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$"
_OWN_LABELS = {"release", "app.kubernetes.io/name", "app.kubernetes.io/instance"}

Name = Annotated[str, Field(pattern=_NAME)]
NameIfAny = Annotated[str, Field(pattern=_NAME_IF_ANY)]
Quantity = Annotated[str, Field(pattern=_QUANTITY)]


class _Part(BaseModel):
    """A part of the values. Unknown keys are errors; instances are immutable."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, validate_by_name=True
    )


class Image(_Part):
    """The container image of the service, built from the exported Dockerfile."""

    repository: str = Field("safelight", pattern=r"^[a-z0-9][a-z0-9._:/-]{0,254}$")
    tag: str = Field("local", pattern=r"^\w[\w.-]{0,127}$")
    pull_policy: Literal["IfNotPresent", "Always", "Never"] = "IfNotPresent"


class Records(_Part):
    """Where finished requests are stored."""

    kind: Literal["volume", "postgresql", "none"] = Field(
        "volume", description="volume: a file of each pod; postgresql: one database for all pods."
    )
    claim: NameIfAny = Field(
        "", description="PersistentVolumeClaim of the file. Empty: it ends with its pod."
    )
    secret: NameIfAny = Field(
        "", description="Secret with the entry url: postgresql://USER:PASSWORD@HOST/NAME."
    )
    port: int = Field(5432, ge=1, le=65535, description="Port of the database.")


class Resources(_Part):
    """What one pod gets."""

    cpu: Quantity = "1"
    memory: Quantity = "2Gi"
    memory_limit: Quantity = "16Gi"
    gpus: int = Field(0, ge=0, le=16, description="NVIDIA GPUs of each pod.")


class Network(_Part):
    """Who reaches the pods besides those of their own namespace."""

    enabled: bool = Field(default=True, description="Create a NetworkPolicy.")
    prometheus_namespace: Name = Field("monitoring", description="Namespace of Prometheus.")
    ingress_namespace: NameIfAny = Field(
        "", description="Namespace of the ingress controller. Empty: no requests from outside."
    )


class Monitored(_Part):
    """Resources of the Prometheus Operator."""

    enabled: bool = Field(default=False, description="Create a ServiceMonitor and the rules.")
    shared: bool = Field(
        default=True,
        description="Also create the dashboards and the rules of machines. They are the same for "
        "all services: set it for one of them.",
    )
    require_operator: bool = Field(
        default=True, description="Refuse a cluster without the Prometheus Operator."
    )
    scrape_interval_seconds: int = Field(
        15, ge=1, le=60, description="The windows of the alerts need several samples."
    )
    operator_labels: dict[
        Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9./_-]{0,252}$")],
        Annotated[str, Field(pattern=_LABEL)],
    ] = Field({}, description="Further labels that the operator selects by.")
    release: str = Field(
        "kube-prometheus-stack",
        pattern=_LABEL,
        description="Value of the label `release`, by which that chart's operator selects. "
        "Empty: no such label.",
    )

    @property
    def labels(self) -> dict[str, str]:
        """Return the labels by which the operator selects its resources."""
        return {**({"release": self.release} if self.release else {}), **self.operator_labels}


class Values(_Part):
    """The values of one service."""

    model: str = Field("", max_length=1000, description="The model to serve.")
    replicas: int = Field(2, ge=1, le=1000)
    image: Image = Image()
    api_keys_secret: NameIfAny = Field(
        "", description="Secret with the entry api_keys. Empty: callers need no API key."
    )
    cache_claim: NameIfAny = Field(
        "", description="PersistentVolumeClaim of the downloaded weights. Empty: of each pod."
    )
    records: Records = Records()
    resources: Resources = Resources()
    network: Network = Network()
    monitoring: Monitored = Monitored()

    @model_validator(mode="after")
    def _contradicts_nothing(self) -> Self:
        for sentence in self._contradictions():
            raise ValueError(sentence)
        return self

    def _contradictions(self) -> Iterator[str]:
        records = self.records
        if records.kind == "postgresql" and not records.secret:
            yield "records.secret is missing: it names the Secret with the database's url"
        if records.kind != "postgresql" and records.secret:
            yield f"records.secret has no use with records.kind {records.kind}"
        if records.kind != "volume" and records.claim:
            yield f"records.claim has no use with records.kind {records.kind}"
        if records.claim and self.replicas > 1:
            yield "records.claim has room for one pod: set replicas to 1, or use postgresql"
        for label in sorted(self.monitoring.operator_labels.keys() & _OWN_LABELS):
            yield f"monitoring.operatorLabels cannot set {label}, which is set already"


def read_values(file: Path | None) -> Values:
    """Return the values in a file; those that it leaves out have their defaults.

    Raises BadSetting with one line that names the file and the keys.
    """
    if file is None:
        return Values()
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        return Values.model_validate(content, strict=True)
    except OSError as error:
        raise BadSetting(f"The values file {file} cannot be read: {error.strerror}.") from None
    except ValidationError as error:
        mistakes = "; ".join(_explain(each) for each in error.errors())
        raise BadSetting(f"The values file {file} is wrong: {mistakes}.") from None
    except (ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise BadSetting(f"The values file {file} is not YAML: {reason}.") from None


def values_document(values: Values) -> Document:
    """Return the values as Helm reads them."""
    return values.model_dump(by_alias=True)


def values_schema() -> Document:
    """Return the JSON schema that Helm holds the values to."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Values.model_json_schema(by_alias=True),
    }


def _explain(error: ErrorDetails) -> str:
    path = ".".join(str(part)[:60] for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{path} is not a value; see values.yaml of the exported chart"
    text = error["msg"].removeprefix("Value error, ")
    return f"{path}: {text}, got {str(error['input'])[:60]!r}" if path else text
