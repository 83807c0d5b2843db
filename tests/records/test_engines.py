"""The rights and the owner of new database files."""

import os
from pathlib import Path

import pytest

from safelight.records.backup import back_up, restore
from tests.records.making import a_record, a_store, fill, opened

SERVICE_USER = 61_184  # a user that systemd would make for a service


def private(file: Path) -> dict[str, int]:
    return {each.name: each.stat().st_mode & 0o777 for each in file.parent.iterdir()}


def test_only_its_owner_can_read_a_new_database_its_log_and_its_folders(tmp_path: Path) -> None:
    file = tmp_path / "state" / "deep" / "records.db"
    store, _ = a_store(f"sqlite:///{file}")
    store.write(a_record())
    store.step()
    names = ("records.db", "records.db-shm", "records.db-wal")
    assert private(file) == dict.fromkeys(names, 0o600)
    assert private(file.parent) == {"deep": 0o700}
    assert private(file.parent.parent) == {"state": 0o700}


def test_only_its_owner_can_read_a_restored_database(file: str, tmp_path: Path) -> None:
    fill(file, 2)
    with opened(file) as database:
        back_up(database, tmp_path / "monday.db", lambda _done, _total: None)
    restored = tmp_path / "new" / "records.db"
    restore(tmp_path / "monday.db", f"sqlite:///{restored}", lambda _done, _total: None)
    assert set(private(restored).values()) == {0o600}


def test_the_rights_of_an_existing_database_stay(tmp_path: Path) -> None:
    file = tmp_path / "records.db"
    file.touch(0o640)
    file.chmod(0o640)
    with opened(f"sqlite:///{file}"):
        assert file.stat().st_mode & 0o777 == 0o640


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_creates_belongs_to_the_owner_of_the_folder(tmp_path: Path) -> None:
    home = tmp_path / "service"
    home.mkdir()
    os.chown(home, SERVICE_USER, SERVICE_USER)
    file = home / "new" / "records.db"
    store, _ = a_store(f"sqlite:///{file}")
    store.write(a_record())
    store.step()
    made = [home / "new", *file.parent.iterdir()]
    assert len(made) == 4
    assert {(each.stat().st_uid, each.stat().st_gid) for each in made} == {
        (SERVICE_USER, SERVICE_USER)
    }
