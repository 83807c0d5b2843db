from typing import Any

import pytest

from safelight.serving.http.front import PATHS
from safelight.settings import Settings, environment_name
from safelight.stack.files.export import Choices, deployment
from safelight.stack.files.pods import container, pod

SERVED = container(Settings.model_construct(namespace="zimage", grace_seconds=40.0, port=8123))
POD = pod("somebody", SERVED, 40.0)


def test_nothing_runs_as_root_or_gains_rights() -> None:
    assert POD["securityContext"]["runAsNonRoot"] is True
    user = f"USER {POD['securityContext']['runAsUser']}\n"
    assert user in deployment(Choices("zimage"), "compose")["Dockerfile"]
    inside = SERVED["securityContext"]
    assert inside["allowPrivilegeEscalation"] is False
    assert inside["capabilities"] == {"drop": ["ALL"]}
    assert POD["automountServiceAccountToken"] is False


def test_the_root_file_system_is_read_only_and_what_is_written_has_a_limit() -> None:
    assert SERVED["securityContext"]["readOnlyRootFilesystem"] is True
    mounted = {mount["name"]: mount["mountPath"] for mount in SERVED["volumeMounts"]}
    assert mounted == {"cache": "/home/safelight/.cache", "tmp": "/tmp"}
    assert {volume["name"] for volume in POD["volumes"]} == set(mounted)
    assert all(volume["emptyDir"]["sizeLimit"] for volume in POD["volumes"])


def test_a_pod_may_finish_what_it_began() -> None:
    told = {one["name"]: one.get("value") for one in SERVED["env"]}
    grace = float(told[environment_name("grace_seconds")] or 0)
    drain = int(SERVED["lifecycle"]["preStop"]["exec"]["command"][1])
    assert grace == 40
    assert POD["terminationGracePeriodSeconds"] >= drain + grace + 5


@pytest.mark.parametrize(
    ("probe", "path"),
    [("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")],
)
def test_a_loading_model_is_not_ready_but_alive(probe: str, path: str) -> None:
    assert SERVED[probe]["httpGet"] == {"path": path, "port": "http"}
    assert path not in PATHS.values()


def test_the_service_is_told_its_namespace_and_listens_on_its_port() -> None:
    told: dict[str, Any] = {one["name"]: one.get("value") for one in SERVED["env"]}
    assert told["SAFELIGHT_NAMESPACE"] == "zimage"
    assert told["SAFELIGHT_PORT"] == str(SERVED["ports"][0]["containerPort"]) == "8123"


def test_keys_come_from_a_secret_that_need_not_be_there() -> None:
    [keys] = [one for one in SERVED["env"] if one["name"] == "SAFELIGHT_API_KEYS"]
    assert keys["valueFrom"]["secretKeyRef"]["optional"] is True
    assert "value" not in keys
