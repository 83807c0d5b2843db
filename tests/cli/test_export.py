import json
import os
from pathlib import Path

import pytest
import yaml

from safelight.dashboards import replaced
from safelight.stack.files.export import PARTS
from tests.cli.conftest import Call

EVERY = ("all", *PARTS)
BY_NAMESPACE = ("all", "prometheus", "compose", "kubernetes", "helm")
IMAGE_FROM_SOURCE = "compose.yaml builds the image from Safelight's source: before you start it"


@pytest.mark.parametrize("part", EVERY)
def test_export_writes_and_check_agrees(part: str, call: Call, tmp_path: Path) -> None:
    folder = str(tmp_path / "out")
    written = call("export", part, folder)
    assert written.code == 0
    assert written.err.startswith(IMAGE_FROM_SOURCE if part in ("all", "compose") else "")
    assert written.err.count("\n") == (part in ("all", "compose"))
    assert list((tmp_path / "out").iterdir())
    assert call("export", part, folder, "--check").code == 0
    assert "; 0 changed." in call("export", part, folder).out


@pytest.mark.parametrize("part", BY_NAMESPACE)
def test_a_namespace_reaches_the_files(part: str, call: Call, tmp_path: Path) -> None:
    call("export", part, str(tmp_path), "--namespace", "zimage")
    assert any("zimage_" in file.read_text() for file in tmp_path.rglob("*.y*ml"))
    assert call("export", part, str(tmp_path), "--namespace", "other", "--check").code == 1


@pytest.mark.parametrize(
    ("before", "part"),
    [(part, part) for part in BY_NAMESPACE]
    + [("prometheus", "all"), ("compose", "kubernetes"), ("kubernetes", "compose")],
)
def test_another_services_export_is_only_overwritten_with_force(
    before: str, part: str, call: Call, tmp_path: Path
) -> None:
    call("export", before, str(tmp_path), "--namespace", "zimage")
    files = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    other = ("export", part, str(tmp_path), "--namespace", "other")
    refused = call(*other)
    assert refused.code == 2
    assert "contains the export of zimage. The export of other would overwrite it." in refused.line
    assert "Use one folder per service, or add --force" in refused.line
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == files
    assert call(*other, "--force").code == 0


@pytest.mark.parametrize("part", [part for part in EVERY if part not in BY_NAMESPACE])
def test_files_without_a_namespace_fit_into_any_folder(
    part: str, call: Call, tmp_path: Path
) -> None:
    call("export", "kubernetes", str(tmp_path), "--namespace", "zimage")
    assert call("export", part, str(tmp_path)).code == 0


def test_a_folder_whose_name_is_too_long_is_one_clear_line(call: Call, tmp_path: Path) -> None:
    for more in ((), ("--check",)):
        refused = call("export", "all", str(tmp_path / ("n" * 300)), *more)
        assert refused.code == 2
        assert "File name too long" in refused.line


def test_check_names_what_differs_and_writes_nothing(call: Call, tmp_path: Path) -> None:
    call("export", "all", str(tmp_path))
    (tmp_path / "compose.yaml").write_text("mine\n")
    checked = call("export", "all", str(tmp_path), "--check")
    assert checked.code == 1
    assert "compose.yaml" in checked.err
    assert (tmp_path / "compose.yaml").read_text() == "mine\n"


def test_check_names_a_dashboard_that_is_no_longer_exported(call: Call, tmp_path: Path) -> None:
    call("export", "grafana", str(tmp_path))
    old = tmp_path / "grafana/dashboards/safelight-old.json"
    old.write_text('{"uid": "safelight-old", "tags": ["safelight"]}')
    checked = call("export", "grafana", str(tmp_path), "--check")
    assert checked.code == 1
    assert checked.line == "No longer exported, so delete: grafana/dashboards/safelight-old.json."


def test_an_export_names_the_replacement_of_an_old_dashboard(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replaced, "_REPLACEMENTS", {"safelight-old": ("safelight-live",)})
    old = tmp_path / "grafana/dashboards/safelight-old.json"
    old.parent.mkdir(parents=True)
    old.write_text('{"uid": "safelight-old", "tags": ["safelight"]}')
    exported = call("export", "grafana", str(tmp_path))
    assert exported.code == 0
    assert exported.err.splitlines() == [
        "No longer exported, so delete: grafana/dashboards/safelight-old.json.",
        "safelight-old no longer exists: see safelight-live.",
    ]
    assert old.exists()


@pytest.mark.parametrize("part", ["grafana", "compose", "kubernetes"])
def test_the_dashboards_show_the_namespace_of_the_export(
    part: str, call: Call, tmp_path: Path
) -> None:
    call("export", part, str(tmp_path), "--namespace", "photos")
    [live] = tmp_path.rglob("safelight-live.*")
    text = live.read_text()
    if part == "kubernetes":
        [text] = yaml.safe_load(text)["data"].values()
    [chosen] = [
        variable["current"]["value"]
        for variable in json.loads(text)["templating"]["list"]
        if variable["name"] == "namespace"
    ]
    assert chosen == "photos"


def test_the_units_of_several_services_fit_into_one_folder(call: Call, tmp_path: Path) -> None:
    for namespace in ("zimage", "photos"):
        exported = call("export", "systemd", str(tmp_path), "--namespace", namespace)
        assert (exported.code, exported.err) == (0, "")
    assert {file.name for file in tmp_path.rglob("*.service")} == {
        "safelight-zimage.service",
        "safelight-photos.service",
    }


def test_a_unit_can_have_a_name_of_its_own(call: Call, tmp_path: Path) -> None:
    chosen = ("export", "systemd", str(tmp_path), "--namespace", "zimage_turbo", "--unit")
    assert call(*chosen, "zimage-turbo").code == 0
    assert call(*chosen, "zimage-turbo").out.startswith("1 file is in ")
    [file] = tmp_path.rglob("*.service")
    assert file.name == "zimage-turbo.service"
    assert "journalctl -u zimage-turbo\n" in file.read_text()
    for name in ("../evil", "systemd-journald", ""):
        refused = call(*chosen, name)
        assert refused.code == 2
        assert "unit" in refused.line


def test_files_that_moved_to_another_folder_are_named(call: Call, tmp_path: Path) -> None:
    old = tmp_path / "kubernetes/monitoring/boards/safelight-live.yaml"
    old.parent.mkdir(parents=True)
    old.write_text("# Generated by `safelight export` from an earlier version\n")
    exported = call("export", "kubernetes", str(tmp_path))
    assert exported.line == (
        "No longer exported, so delete: kubernetes/monitoring/boards/safelight-live.yaml."
    )


def test_values_reach_both_ways_to_deploy(call: Call, tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text("replicas: 7\nmodel: my.package:Model\n")
    for part in ("kubernetes", "helm"):
        call("export", part, str(tmp_path), "--values", str(tmp_path / "values.yaml"))
    deployed = yaml.safe_load((tmp_path / "kubernetes/deployment.yaml").read_text())
    values = yaml.safe_load((tmp_path / "helm/values.yaml").read_text())
    assert deployed["spec"]["replicas"] == values["replicas"] == 7
    assert values["model"] == "my.package:Model"


def test_a_model_of_another_namespace_is_one_clear_line(call: Call, tmp_path: Path) -> None:
    for part in ("compose", "kubernetes", "helm", "systemd"):
        refused = call(
            "export", part, str(tmp_path), "--namespace", "zimage", "--model", "demo-edit"
        )
        assert refused.code == 2
        assert "demo-edit belongs to the namespace instructpix2pix" in refused.line
    assert not list(tmp_path.iterdir())


def test_a_namespace_that_no_host_name_could_have_is_refused(call: Call, tmp_path: Path) -> None:
    for namespace in ("My-Service", "a.b", "x" * 41, "-x", ""):
        refused = call("export", "kubernetes", str(tmp_path), f"--namespace={namespace}")
        assert refused.code == 2
        assert "SAFELIGHT_NAMESPACE" in refused.line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("part", EVERY)
def test_check_of_an_empty_folder_leaves_it_empty(part: str, call: Call, tmp_path: Path) -> None:
    assert call("export", part, str(tmp_path), "--check").code == 1
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_a_file_is_one_clear_line(call: Call, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused = call("export", "all", str(tmp_path / "file"))
    assert refused.code == 2
    assert "cannot be written: Not a directory." in refused.line


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_one_clear_line(call: Call, tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    refused = call("export", "all", str(tmp_path / "out"))
    tmp_path.chmod(0o755)
    assert refused.code == 2
    assert "cannot be written: Permission denied." in refused.line


def test_another_programs_file_is_only_overwritten_with_force(call: Call, tmp_path: Path) -> None:
    (tmp_path / "prometheus").mkdir()
    existing = tmp_path / "prometheus/prometheus.yml"
    existing.write_text("scrape_configs: []\n")
    refused = call("export", "prometheus", str(tmp_path))
    assert refused.code == 2
    assert "prometheus/prometheus.yml" in refused.line
    assert existing.read_text() == "scrape_configs: []\n"
    assert not (tmp_path / "prometheus/rules").exists()
    assert call("export", "prometheus", str(tmp_path), "--force").code == 0
    assert "job_name: safelight" in existing.read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--namespace", "Not-A-Name"), "SAFELIGHT_NAMESPACE"),
        (("--namespace", "a b; rm"), "SAFELIGHT_NAMESPACE"),
        (("--namespace", "编辑"), "SAFELIGHT_NAMESPACE"),
        (("--retention", "two weeks"), "SAFELIGHT_RETENTION"),
        (("--discovery", "consul"), "consul"),
        (("--remote-write", "mimir"), "is not a remote-write URL"),
        (("--remote-write", "ftp://mimir.example/push"), "is not a remote-write URL"),
        (("--remote-write", "http://[::1"), "is not a remote-write URL"),
        (("--remote-write", "https://mimir.example/" + "x" * 2000), "is not a remote-write URL"),
        (("--remote-write", "https://me:secret@mimir.example/push"), "basic_auth.password_file"),
        (("--remote-write", "ftp://me:secret@mimir.example/"), "is not a remote-write URL"),
        (("--remote-write", "ftp://mimir.example/?token=secret"), "is not a remote-write URL"),
        (("--remote-write", "http://h/x?token=secret"), "authorization.credentials_file"),
        (("--remote-write", "http://h/x?secret"), "authorization.credentials_file"),
        (("--remote-write", "http://h/x#secret"), "authorization.credentials_file"),
    ],
)
def test_an_invalid_option_is_one_line_and_nothing_is_written(
    options: tuple[str, ...], message: str, call: Call, tmp_path: Path
) -> None:
    refused = call("export", "all", str(tmp_path), *options)
    assert refused.code == 2
    assert message in refused.line
    assert "secret" not in refused.line
    assert not list(tmp_path.iterdir())


def test_the_choices_are_in_the_configuration(call: Call, tmp_path: Path) -> None:
    urls = ("https://a.example/push", "https://b.example/push")
    options = [part for url in urls for part in ("--remote-write", url)]
    call("export", "prometheus", str(tmp_path), "--discovery", "kubernetes", *options)
    config = yaml.safe_load((tmp_path / "prometheus/prometheus.yml").read_text())
    assert [copy["url"] for copy in config["remote_write"]] == list(urls)
    assert "kubernetes_sd_configs" in config["scrape_configs"][0]


@pytest.mark.parametrize("part", EVERY)
@pytest.mark.parametrize("words", ["Example:", "--check", "--force", "folder"])
def test_help_shows_an_example_and_every_option(part: str, words: str, call: Call) -> None:
    assert words in call("export", part, "--help").out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "Missing command"),
        (
            ("monitoring",),
            "No such command 'monitoring'. safelight export DIR is now safelight export all DIR",
        ),
    ],
)
def test_without_a_part_one_line_names_the_help(
    words: tuple[str, ...], message: str, call: Call
) -> None:
    answer = call("export", *words)
    assert (answer.code, answer.out) == (2, "")
    assert answer.line == f"safelight: {message}. See: safelight export --help"
    assert all(part in call("export", "--help").out for part in EVERY)


def test_export_reads_the_monitoring_file_but_not_its_secrets(call: Call, tmp_path: Path) -> None:
    text = '[receivers.group]\nkind = "wecom"\nurl_file = "/run/secrets/group"\n'
    text += '[routes]\ncritical = ["group"]\n[thresholds]\nrequest_p95_seconds = 7.5\n'
    (tmp_path / "monitoring.toml").write_text(text)
    out, options = tmp_path / "out", ("--monitoring", str(tmp_path / "monitoring.toml"))
    assert call("export", "all", str(out), *options).code == 0
    assert "url: http://127.0.0.1:9094/group" in (out / "alertmanager/alertmanager.yml").read_text()
    assert "> 7.5 and " in (out / "prometheus/rules/safelight.yml").read_text()
    assert "> 7.5 and " in (out / "kubernetes/monitoring/prometheusrule.yaml").read_text()
    live = (out / "grafana/dashboards/safelight-live.json").read_text()
    assert "P95 over 7.5 s" in live
