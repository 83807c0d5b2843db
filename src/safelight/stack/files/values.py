"""The values of a deployment in Kubernetes: those of the Helm chart, which Kustomize shares.

`safelight export kubernetes --values FILE` reads the same file as `helm install --values FILE`.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from safelight.errors import BadSetting
from safelight.settings import Settings
from safelight.stack.files.document import Document

_NAME = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"  # of a namespace: an RFC 1123 label
_LABEL_DNS = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_NAME_IF_ANY = rf"^({_LABEL_DNS}(\.{_LABEL_DNS}){{0,3}})?$"
_REPOSITORY = r"^[a-z0-9][a-z0-9.-]*(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$"
_LABEL = r"^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$"
# The deployment sets these itself; the last one is the secret of an operator.
_OWN_SETTINGS = frozenset(
    {"api_keys", "api_keys_file", "grace_seconds", "host", "model", "namespace"}
    | {"peers", "port", "records_url", "state_folder", "tls_certificate", "tls_key"}
    | {"operator_key"}
)
SETTINGS = Settings.model_fields.keys() - _OWN_SETTINGS
_OWN_LABELS = {"release", "app.kubernetes.io/name", "app.kubernetes.io/instance"}

Name = Annotated[str, Field(pattern=_NAME)]
LabelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9./_-]{0,252}$")]
LabelValue = Annotated[str, Field(pattern=_LABEL)]
NameIfAny = Annotated[str, Field(pattern=_NAME_IF_ANY)]


class _Part(BaseModel):
    """A part of the values. Unknown keys are errors; instances are immutable."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, validate_by_name=True
    )


class Image(_Part):
    """The container image of the service, built from the exported Dockerfile."""

    repository: str = Field("safelight", pattern=_REPOSITORY, max_length=255)
    tag: str = Field("local", pattern=r"^\w[\w.-]{0,127}$")
    pull_policy: Literal["IfNotPresent", "Always", "Never"] = "IfNotPresent"
    pull_secrets: tuple[Name, ...] = Field((), description="Secrets of a private registry.")


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

    cpu: float = Field(1, gt=0, le=1024, description="Cores that a pod is sure to get.")
    memory_gib: int = Field(2, ge=1, le=4096, description="Memory that a pod is sure to get.")
    memory_limit_gib: int = Field(16, ge=1, le=4096, description="A pod above it is killed.")
    gpus: int = Field(0, ge=0, le=16, description="NVIDIA GPUs of each pod.")
    node_selector: dict[LabelName, LabelValue] = Field(
        {}, description="Labels of the nodes that may run a pod."
    )


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
    key_secret: NameIfAny = Field(
        "",
        description="Secret with the entry key: the API key that Prometheus sends, for a service "
        "with protected metrics.",
    )
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
    operator_labels: dict[LabelName, LabelValue] = Field(
        {}, description="Further labels that the operator selects by."
    )
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
    # One more runs while a rollout replaces them, and a pod asks at most 16.
    replicas: int = Field(2, ge=1, le=15)
    image: Image = Image()
    api_keys_secret: NameIfAny = Field(
        "",
        description="Secret with the entry api_keys, which is read again when it changes. Empty: "
        "callers need no API key.",
    )
    cache_claim: NameIfAny = Field(
        "",
        description="PersistentVolumeClaim of the downloaded weights, ReadWriteMany for several "
        "pods. Empty: each pod downloads them.",
    )
    settings: dict[str, str] = Field(
        {}, description="Further settings by name, as text; see docs/settings.md."
    )
    settings_secret: NameIfAny = Field(
        "", description="Secret whose entries become variables: SAFELIGHT_ settings, HF_TOKEN."
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
        records, resources = self.records, self.resources
        if resources.memory_gib > resources.memory_limit_gib:
            yield "resources.memoryGib is above resources.memoryLimitGib"
        for name in sorted(self.settings):
            yield from _setting_fault(name, self.settings[name])
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
        content = yaml.load(file.read_text(encoding="utf-8"), _UniqueKeys) or {}
        return Values.model_validate_json(json.dumps(content, default=str), strict=True)
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
    return values.model_dump(mode="json", by_alias=True)


def values_schema() -> Document:
    """Return the JSON schema that Helm holds the values to.

    A chart needs a model. `global` is what a parent chart gives to all of its charts.
    """
    schema = Values.model_json_schema(by_alias=True)
    properties = schema["properties"]
    properties["model"]["minLength"] = 1
    properties["settings"]["propertyNames"] = {"enum": sorted(SETTINGS)}
    properties["global"] = {}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _setting_fault(name: str, text: str) -> Iterator[str]:
    """Yield what is wrong with a setting."""
    if name in _OWN_SETTINGS:
        yield f"settings.{name} cannot be set: the deployment decides it"
    elif name not in Settings.model_fields:
        yield f"settings.{name[:60]} is not a setting; see docs/settings.md"
    else:
        info = Settings.model_fields[name]
        try:
            TypeAdapter[object](_annotated(info)).validate_strings(text)
        except ValidationError as error:
            yield f"settings.{name}: {error.errors()[0]['msg']}, got {text[:60]!r}"


def _annotated(info: FieldInfo) -> Any:
    """Return the type of a setting with its limits."""
    return Annotated[info.annotation, info]


def _explain(error: ErrorDetails) -> str:
    path = ".".join(str(part)[:60] for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{path} is not a value; see values.yaml of the exported chart"
    if error["type"] == "model_type":
        return f"{path or 'the file'} must have names and values"
    text = error["msg"].removeprefix("Value error, ")
    return f"{path}: {text}, got {repr(error['input'])[:60]}" if path else text


class _UniqueKeys(yaml.SafeLoader):
    """Loads YAML, and refuses a key that is written twice: the last one would win silently."""


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[object, object]:
    pairs = [(loader.construct_object(key), value) for key, value in node.value]
    keys = [key for key, _ in pairs]
    for key in keys:
        if keys.count(key) > 1:
            raise yaml.YAMLError(f"{str(key)[:60]!r} is written twice")
    return {key: loader.construct_object(value, deep=True) for key, value in pairs}


_UniqueKeys.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
