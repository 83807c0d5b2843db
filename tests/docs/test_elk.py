"""Run the commands of docs/elk.md against stand-ins, and hold its facts to the source."""

import os
import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

from safelight.stack.files.elastic import filebeat_yml, index_template
from safelight.stack.files.elk import elk_files
from safelight.stack.files.kibana import SEARCHES
from safelight.stack.files.shippers import alloy_config
from tests.stack.elastics import KEY, elastic

PAGE = (Path(__file__).parents[2] / "docs" / "elk.md").read_text()
SHELL = re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL)


def test_the_commands_of_the_page_work(tmp_path: Path) -> None:
    bin_folder, work = tmp_path / "bin", tmp_path / "work"
    bin_folder.mkdir()
    work.mkdir()
    (work / "key").write_text(KEY)
    (bin_folder / "safelight").write_text(f'#!/bin/sh\nexec {sys.executable} -m safelight "$@"\n')
    (bin_folder / "safelight").chmod(0o755)
    environment = {**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}"}
    with elastic() as fake:
        script = "".join(SHELL)
        for port in ("9200", "5601"):
            script = script.replace(f"http://127.0.0.1:{port}", fake.url)
        done = subprocess.run(
            ("bash", "-euo", "pipefail", "-c", script),
            cwd=work,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert fake.templates
        assert fake.objects
        assert fake.dashboards
    assert (work / "curl.txt").stat().st_mode & 0o077 == 0


def test_every_file_that_the_page_names_is_exported() -> None:
    named = set(re.findall(r"logging/(elk/[\w./-]+)", PAGE))
    assert len(named) >= 4
    assert named <= elk_files().keys()


def test_the_page_names_what_the_files_say() -> None:
    texts = " ".join(elk_files().values())
    for variable in set(
        re.findall(r"\b(?:SAFELIGHT_(?:LOGS|CONTAINER\w*)|LOKI_URL|VECTOR_\w+)", PAGE)
    ):
        assert variable in texts, variable
    assert f"{len(SEARCHES)} searches" == "5 searches"
    assert "five searches" in PAGE
    assert '"data_retention": "30d"' in index_template()
    for path in ("/var/log/safelight/*.log*", "/var/log/containers/safelight-*.log"):
        assert f"`{path}`" in PAGE
        assert path in filebeat_yml()
    for name in ("service_name", "level", "outcome", "trace_id", "request_id", "action"):
        assert f"`{name}`" in PAGE
        assert name in alloy_config()


def test_the_page_gives_each_service_a_file_that_filebeat_reads() -> None:
    (place,) = re.findall(r"SAFELIGHT_LOG_OUTPUT=(\S+) safelight serve", PAGE)
    assert place.endswith("/NAME.log")
    assert fnmatch(place.replace("NAME", "another"), "/var/log/safelight/*.log*")
    assert fnmatch(f"{place}.1", "/var/log/safelight/*.log*")
