from typing import Any

import pytest
import yaml

from safelight.serving.http.front import PATHS
from safelight.settings import Settings, environment_name
from safelight.stack.files.document import yaml_text
from safelight.stack.files.export import Choices, deployment
from safelight.stack.files.pods import container, pod
from safelight.stack.files.values import Resources, Values

SETTINGS = Settings.model_construct(namespace="zimage", grace_seconds=40.0, port=8123)
VALUES = Values()
POD: dict[str, Any] = yaml.safe_load(
    yaml_text(pod("an-account", container(SETTINGS, VALUES, "peers"), 40.0, VALUES), "")
)
[CONTAINER] = POD["containers"]
VARIABLES: dict[str, Any] = {
    variable["name"]: variable.get("value") for variable in CONTAINER["env"]
}


def test_nothing_runs_as_root_or_gains_rights() -> None:
    assert POD["securityContext"]["runAsNonRoot"] is True
    user = f"USER {POD['securityContext']['runAsUser']}\n"
    assert user in deployment(Choices("zimage"), "compose")["Dockerfile"]
    context = CONTAINER["securityContext"]
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert POD["automountServiceAccountToken"] is False


def test_the_root_file_system_is_read_only_and_writable_folders_have_limits() -> None:
    assert CONTAINER["securityContext"]["readOnlyRootFilesystem"] is True
    mounted = {mount["name"]: mount["mountPath"] for mount in CONTAINER["volumeMounts"]}
    folders = {"cache": "/home/safelight/.cache", "state": "/var/lib/safelight", "tmp": "/tmp"}
    assert mounted == folders
    assert {volume["name"] for volume in POD["volumes"]} == set(mounted)
    assert all(volume["emptyDir"]["sizeLimit"] for volume in POD["volumes"])


def test_records_are_written_to_a_folder_that_can_be_written_to() -> None:
    state = next(
        mount["mountPath"] for mount in CONTAINER["volumeMounts"] if mount["name"] == "state"
    )
    assert VARIABLES["SAFELIGHT_RECORDS_URL"] == f"sqlite:///{state}/records.db"
    assert VARIABLES["SAFELIGHT_STATE_FOLDER"] == state


def test_a_pod_has_time_to_finish_its_requests() -> None:
    grace = float(VARIABLES[environment_name("grace_seconds")])
    drain = int(CONTAINER["lifecycle"]["preStop"]["exec"]["command"][1])
    assert grace == 40
    assert POD["terminationGracePeriodSeconds"] >= drain + grace + 5


@pytest.mark.parametrize(
    ("probe", "path"),
    [("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")],
)
def test_a_loading_model_is_not_ready_but_alive(probe: str, path: str) -> None:
    assert CONTAINER[probe]["httpGet"] == {"path": path, "port": "http"}
    assert path not in PATHS.values()


def test_the_service_gets_its_namespace_and_port() -> None:
    assert VARIABLES["SAFELIGHT_NAMESPACE"] == "zimage"
    assert VARIABLES["SAFELIGHT_PORT"] == str(CONTAINER["ports"][0]["containerPort"]) == "8123"


def test_a_pod_does_not_start_without_the_secret_of_its_keys() -> None:
    assert "SAFELIGHT_API_KEYS_FILE" not in VARIABLES
    values = Values(api_keys_secret="zimage-keys")
    own: dict[str, Any] = container(SETTINGS, values, "peers")
    [keys] = [item["value"] for item in own["env"] if item["name"] == "SAFELIGHT_API_KEYS_FILE"]
    spec: dict[str, Any] = pod("an-account", own, 20, values)
    [volume] = [each for each in spec["volumes"] if each["name"] == "keys"]
    [mount] = [each for each in own["volumeMounts"] if each["name"] == "keys"]
    [item] = volume["secret"]["items"]
    assert volume["secret"]["secretName"] == "zimage-keys"
    assert item["key"] == "api_keys"
    assert keys == f"{mount['mountPath']}/{item['path']}"
    assert "subPath" not in mount, "a file that is mounted alone never follows its Secret"


def test_a_pod_with_gpus_may_run_on_nodes_that_are_reserved_for_them() -> None:
    values = Values(resources=Resources(gpus=2))
    own: dict[str, Any] = pod("an-account", container(SETTINGS, values, "peers"), 40.0, values)
    [service] = own["containers"]
    assert service["resources"]["limits"]["nvidia.com/gpu"] == 2
    assert own["tolerations"][0]["key"] == "nvidia.com/gpu"
