"""`safelight records backup` and `restore`, on real database files."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from safelight.units import size
from tests.cli.conftest import Call
from tests.records.making import a_record, a_store, an_assessment, rows


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the URL of records with two requests; the settings contain it too."""
    url = f"sqlite:///{tmp_path / 'records.db'}"
    monkeypatch.setenv("SAFELIGHT_RECORDS_URL", url)
    store, _ = a_store(url)
    for name in ("one", "two"):
        store.write(a_record(name))
    store.assess(an_assessment("one"))
    store.step()
    store.close()
    return url


def test_a_backup_and_its_restore_print_what_they_wrote(
    call: Call, records: str, tmp_path: Path
) -> None:
    file, new = tmp_path / "monday.db", f"sqlite:///{tmp_path / 'new' / 'records.db'}"
    done = call("records", "backup", str(file))
    assert (done.code, done.err) == (0, "")
    written = size(file.stat().st_size)
    summary = f"2 requests, 1 assessment, 0 ratings, 0 pairs, 0 samples; {written}\n"
    assert done.out == f"{file}: {summary}"

    done = call("records", "restore", str(file), "--records-url", new)
    assert (done.code, done.err) == (0, "")
    assert done.out == f"{new} has the records of {file}: {summary}"
    assert rows(new, "requests") == rows(records, "requests")


def test_a_mistake_is_one_clear_line(call: Call, records: str, tmp_path: Path) -> None:
    file, new = str(tmp_path / "monday.db"), f"sqlite:///{tmp_path / 'new.db'}"
    call("records", "backup", file)
    for arguments, code, message in (
        (("backup", file), 2, "already exists. Choose another file, or add --force."),
        (("backup", str(tmp_path / "no" / "x.db")), 2, "cannot be written: No such file"),
        (("backup", file, "--force", "--records-url", new), 3, "There are no records at"),
        (("backup", file, "--force", "--records-url", ""), 2, "SAFELIGHT_RECORDS_URL is empty"),
        (("restore", file), 3, "already have 3 rows. Restore into a new database: --records-url"),
        (("restore", file, "--records-url", ""), 2, "SAFELIGHT_RECORDS_URL is empty"),
        (("restore", str(tmp_path / "no.db"), "--records-url", new), 2, "cannot be read: No such"),
        (("restore", __file__, "--records-url", new), 2, "is not a backup of records."),
        (
            ("restore", file, "--records-url", "postgresql://me:secret@127.0.0.1:1/x"),
            3,
            "me:***@127.0.0.1:1/x cannot be used",
        ),
    ):
        done = call("records", *arguments)
        assert (done.code, done.out) == (code, ""), arguments
        assert message in done.line
        assert "secret" not in done.line
    assert not (tmp_path / "new.db").exists()
    assert len(rows(records, "requests")) == 2


@pytest.mark.parametrize("words", [("upgrade",), ("purge", "--older-than", "1s", "--yes")])
def test_a_command_that_writes_refuses_a_backup_and_leaves_it_intact(
    words: tuple[str, ...], call: Call, records: str, tmp_path: Path
) -> None:
    file, new = tmp_path / "monday.db", f"sqlite:///{tmp_path / 'new.db'}"
    call("records", "backup", str(file))
    written = file.read_bytes()

    done = call("records", *words, "--records-url", f"sqlite:///{file}")
    assert (done.code, done.out) == (3, "")
    assert "monday.db is a backup, and nothing may change it. Restore it" in done.line
    assert file.read_bytes() == written
    assert call("records", "info", "--records-url", f"sqlite:///{file}").code == 0
    assert call("records", "restore", str(file), "--records-url", new).code == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
def test_root_backs_up_and_restores_beside_a_service_that_can_go_on(
    call: Call, tmp_path: Path
) -> None:
    """As docs/upgrading.md says for systemd: the service has a user and a folder of its own."""
    user, folder = 61_184, tmp_path / "state"
    folder.mkdir()
    os.chown(folder, user, user)
    running, restored = f"sqlite:///{folder / 'records.db'}", f"sqlite:///{folder / 'new.db'}"
    store, _ = a_store(running)
    store.write(a_record("one"))
    store.step()
    file = tmp_path / "before.db"
    assert call("records", "backup", str(file), "--records-url", running).code == 0
    store.write(a_record("two"))
    store.step()
    assert call("records", "restore", str(file), "--records-url", restored).code == 0
    assert {each.stat().st_uid for each in folder.iterdir()} == {user}
    assert {each.stat().st_mode & 0o777 for each in folder.iterdir()} == {0o600}
    assert [len(rows(url, "requests")) for url in (running, restored)] == [2, 1]
    store.close()


def test_a_terminal_shows_the_progress(records: str, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    try:
        command = [sys.executable, "-m", "safelight", "records", "backup", "monday.db"]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "80"},
        )
        assert done.returncode == 0
        assert "3/3" in os.read(ours, 65536).decode()
    finally:
        os.close(ours)
        os.close(theirs)
