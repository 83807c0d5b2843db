from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from safelight.cli.export import export
from safelight.errors import BadSetting

app = typer.Typer()
app.command()(export)


def call(*arguments: str) -> Result:
    return CliRunner(env={"NO_COLOR": "1", "COLUMNS": "120"}).invoke(app, arguments)


def test_export_writes_and_check_agrees(tmp_path: Path) -> None:
    written = call(str(tmp_path / "out"), "--namespace", "zimage")
    assert written.exit_code == 0
    assert (tmp_path / "out/prometheus/rules/safelight.yml").is_file()
    assert call(str(tmp_path / "out"), "--namespace", "zimage", "--check").exit_code == 0


def test_check_names_what_differs_and_writes_nothing(tmp_path: Path) -> None:
    call(str(tmp_path))
    (tmp_path / "compose.yaml").write_text("mine\n")
    checked = call(str(tmp_path), "--check")
    assert checked.exit_code == 1
    assert "compose.yaml" in checked.stderr
    assert (tmp_path / "compose.yaml").read_text() == "mine\n"


def test_check_of_an_empty_folder_leaves_it_empty(tmp_path: Path) -> None:
    assert call(str(tmp_path), "--check").exit_code == 1
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_a_file_is_one_clear_line(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    refused = call(str(file))
    assert refused.exit_code == 2
    assert "cannot be written" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_a_namespace_that_prometheus_would_refuse_is_refused_first(tmp_path: Path) -> None:
    refused = call(str(tmp_path), "--namespace", "Not-A-Name")
    assert isinstance(refused.exception, BadSetting)  # the root command makes it one line


def test_a_monitoring_file_says_who_is_told_and_its_secrets_may_be_elsewhere(
    tmp_path: Path,
) -> None:
    text = '[receivers.group]\nkind = "wecom"\nurl_file = "/run/secrets/group"\n'
    (tmp_path / "monitoring.toml").write_text(text + '[routes]\ncritical = ["group"]\n')
    done = call(str(tmp_path / "out"), "--monitoring", str(tmp_path / "monitoring.toml"))
    assert done.exit_code == 0, done.output
    written = (tmp_path / "out/alertmanager/alertmanager.yml").read_text()
    assert "url: http://127.0.0.1:9094/group" in written


@pytest.mark.parametrize("words", ["Example:", "--check", "--namespace"])
def test_help_shows_an_example_and_every_option(words: str) -> None:
    assert words in call("--help").stdout
