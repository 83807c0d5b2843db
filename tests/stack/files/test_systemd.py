"""The systemd unit as text: its name, and what is refused before it is written."""

from pathlib import Path

import pytest

from safelight.errors import BadSetting
from safelight.settings import load
from safelight.stack.files.export import Choices, deployment
from safelight.stack.files.systemd import checked_name, unit, unit_name


def test_the_default_name_cannot_be_that_of_another_programs_unit() -> None:
    assert unit_name("ssh") == "safelight-ssh.service"
    assert unit_name("zimage_turbo") == "safelight-zimage-turbo.service"


def test_an_own_name_is_the_file_and_its_instructions_and_the_folders_keep_theirs() -> None:
    assert unit_name("zimage_turbo", "pictures") == "pictures.service"
    text = unit(load(namespace="zimage_turbo"), 8001, "pictures")
    for line in (
        "#   cp pictures.service /etc/systemd/system/ && systemctl daemon-reload",
        "#   systemctl enable --now pictures",
        "# Logs: journalctl -u pictures",
        "StateDirectory=safelight/zimage-turbo",
        "CacheDirectory=safelight/zimage-turbo",
        "EnvironmentFile=-/etc/safelight/zimage-turbo.env",
    ):
        assert line in text.splitlines()


@pytest.mark.parametrize("name", ["", "-a", "A", "a.b", "a/b", "a@b", "a b", "a\n", "é", "a" * 101])
def test_a_name_that_no_unit_should_have_is_refused(name: str) -> None:
    with pytest.raises(BadSetting, match="is not the name of a unit: use a-z, 0-9 and -"):
        checked_name(name, ())


def test_a_name_that_the_system_has_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ssh.service").touch()
    with pytest.raises(BadSetting, match=r"ssh\.service is a unit of the system"):
        checked_name("ssh", [tmp_path])
    with pytest.raises(BadSetting, match="is a unit of the system"):
        checked_name("systemd-journald", [])
    assert checked_name("zimage-turbo", [tmp_path]) == "zimage-turbo"


def test_a_port_that_the_service_may_not_use_is_refused() -> None:
    with pytest.raises(BadSetting, match=r"no right to use port 1023\. Choose one from 1024 on"):
        unit(load(), 1023)
    assert "SAFELIGHT_PORT=1024" in unit(load(), 1024)


@pytest.mark.parametrize("part", ["systemd", "compose"])
@pytest.mark.parametrize("model", ["a/b\nExecStartPre=/bin/rm", "a/b\r", "${HOME}", "a\u2028b"])
def test_a_model_cannot_add_lines_or_variables(part: str, model: str) -> None:
    with pytest.raises(BadSetting, match="is not the name of a model: write it without") as refused:
        deployment(Choices("photos", model), part)
    assert len(str(refused.value).splitlines()) == 1


def test_caches_of_libraries_are_in_the_only_folder_for_them() -> None:
    lines = unit(load(namespace="photos"), 8000).splitlines()
    [caches] = [line for line in lines if "XDG_CACHE_HOME" in line]
    assert caches.split("=", 1)[1].split() == [
        "HOME=/var/cache/safelight/photos",
        "XDG_CACHE_HOME=/var/cache/safelight/photos",
        "HF_HOME=/var/cache/safelight/photos",
        "PYTHONUNBUFFERED=1",
    ]


def test_gpus_get_their_device_files_before_the_service_loses_its_rights() -> None:
    lines = unit(load(), 8000).splitlines()
    assert "ExecStartPre=-+/usr/bin/nvidia-modprobe -c 0 -u" in lines
    assert "SystemCallErrorNumber=EPERM" in lines
