"""What a released version wrote, and the names that it accepts, still work in this version."""

import gzip
import re
import sqlite3
import tomllib
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest

from safelight.diagnosis.radar import radar
from safelight.diagnosis.tradeoff import tradeoff
from safelight.errors import RecordsUnusable
from safelight.records.backup import back_up, restore
from safelight.records.database import open_database
from safelight.records.queries import export_rows, read_requests
from safelight.records.retention import info, purge
from safelight.records.rows import Rating
from safelight.renamed import RENAMED
from safelight.rules.files import rule_file
from safelight.rules.renamed import OLD_NAMES
from safelight.rules.replaced import REPLACED
from safelight.settings import Settings, load
from safelight.stack.monitoring import read
from tests.records.making import OWNER, FakeClock, a_store, rows
from tests.records.postgres import Postgres
from tests.releases.__main__ import SALT
from tests.releases.contents import NAMESPACE, every_key, keys, names

FOLDERS = sorted(file.parent for file in Path(__file__).parent.glob("*/names.json"))
ROOT = Path(__file__).parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()

# Before a version is released, it may still get names that its fixture does not have.
IS_RELEASED = re.findall(r"^## (.*)$", CHANGELOG, re.MULTILINE)[0].startswith(f"{VERSION}, 2")
every_release = pytest.mark.parametrize("release", FOLDERS, ids=lambda folder: folder.name)


@pytest.fixture(params=["sqlite", "postgresql"])
def old(request: pytest.FixtureRequest, release: Path, tmp_path: Path) -> str:
    """Return the URL of records that a released version wrote."""
    statements = (release / f"{request.param}.sql").read_text()
    if request.param == "sqlite":
        with sqlite3.connect(tmp_path / "records.db") as connection:
            connection.executescript(statements)
        connection.close()
        return f"sqlite:///{tmp_path / 'records.db'}"
    running: Postgres = request.getfixturevalue("server")
    url = running.new_database()
    with psycopg.connect(url) as server:
        server.execute(statements.encode())
    return url


@every_release
def test_this_version_upgrades_and_reads_all_records(release: Path, old: str) -> None:
    written = [orjson.loads(line) for line in (release / "export.jsonl").read_bytes().splitlines()]
    database = open_database(old)
    try:
        assert database.salt == SALT
        found = {row["request_id"]: row for row in export_rows(database)}
        assert len(found) == len(written) == info(database).rows["requests"] > 10
        for row in written:
            assert {name: found[row["request_id"]][name] for name in row} == row
        requests = read_requests(database)
        assert radar(requests).requests == len(written)
        assert tradeoff(requests).by == "score"
        assert info(database).rows["samples"] == len(written)
    finally:
        database.close()


@every_release
def test_the_owners_of_old_records_can_rate_and_delete_them(release: Path, old: str) -> None:
    store, _ = a_store(old, FakeClock(), samples=True)
    store.step()
    found, foreign = store.find("request-3", OWNER), store.find("request-3", "somebody")
    store.step()
    [request] = found.result(5)
    assert request.rating == 4
    assert foreign.result(5) == []
    store.rate(Rating("request-3", "make_him_old", 1, "none"))
    store.forget("request-4")
    store.step()
    assert {row["request_id"]: row["rating"] for row in rows(old, "ratings")}["request-3"] == 1
    assert "request-4" not in {row["request_id"] for row in rows(old, "requests")}


@every_release
def test_old_records_can_be_backed_up_restored_and_purged(
    release: Path, old: str, tmp_path: Path
) -> None:
    database = open_database(old)
    try:
        copied = back_up(database, tmp_path / "backup.db", lambda *_: None)
        assert purge(database, float("inf")) == sum(copied.rows.values())
    finally:
        database.close()
    assert restore(tmp_path / "backup.db", old, lambda *_: None) == copied


@every_release
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_backup_of_a_released_version_is_restored(
    release: Path, kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    file, url = tmp_path / "backup.db", f"sqlite:///{tmp_path / 'records.db'}"
    file.write_bytes(gzip.decompress((release / "backup.db.gz").read_bytes()))
    if kind == "postgresql":
        url = request.getfixturevalue("server").new_database()
    restore(file, url, lambda *_: None)
    written = [orjson.loads(line) for line in (release / "export.jsonl").read_bytes().splitlines()]
    database = open_database(url)
    try:
        assert database.salt == SALT
        found = {row["request_id"]: row for row in export_rows(database)}
        assert [found[row["request_id"]] | row for row in written] == [*found.values()]
    finally:
        database.close()


@every_release
def test_records_of_a_newer_version_are_refused_and_stay_as_they_are(
    release: Path, old: str
) -> None:
    if old.startswith("sqlite"):
        with sqlite3.connect(old.removeprefix("sqlite:///")) as connection:
            connection.execute("UPDATE safelight_version SET version_num = '9999'")
        connection.close()
    else:
        with psycopg.connect(old) as server:
            server.execute("UPDATE safelight_version SET version_num = '9999'")
    for migrate in (False, True):
        with pytest.raises(RecordsUnusable, match=r"newer Safelight \(schema 9999; .*Upgrade"):
            open_database(old, migrate=migrate)


@every_release
def test_the_monitoring_file_with_every_key_is_read_or_says_what_is_new(release: Path) -> None:
    file = release / "monitoring.toml"
    content = tomllib.loads(file.read_text())
    monitoring = read(file, secrets_here=False)
    assert len(monitoring.receivers) == len(content["receivers"]) == 7
    limits = monitoring.limits("zimage")["zimage"]
    assert limits.alerts["RequestP95High"].for_seconds == 120
    assert "RequestP95High" in rule_file("zimage", thresholds={"zimage": limits})
    if IS_RELEASED and release.name == VERSION:
        assert keys(content) == every_key(), "run: python -m tests.releases"


@every_release
def test_the_settings_file_with_every_key_is_read(
    release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = release / "safelight.toml"
    content = tomllib.loads(file.read_text())
    for name in Settings.model_fields:
        monkeypatch.delenv(f"SAFELIGHT_{name.upper()}", raising=False)
    monkeypatch.setenv("SAFELIGHT_CONFIG", str(file))
    settings = load()
    assert settings.queue_limit == content["queue_limit"]
    if IS_RELEASED and release.name == VERSION:
        assert set(content) == set(Settings.model_fields), "run: python -m tests.releases"


def successors(kind: str) -> set[str]:
    """Return the old names of a kind, in the tables of renamed names."""
    if kind == "alerts":
        return set(REPLACED)
    if kind in ("metrics", "recordings"):
        return {name for row in OLD_NAMES for name in (row.name, f"{NAMESPACE}_{row.name}")}
    return {row.old for row in RENAMED if row.kind == kind.removesuffix("s")}


@every_release
@pytest.mark.parametrize("kind", names())
def test_every_name_still_exists_or_is_in_a_table_of_renamed_ones(release: Path, kind: str) -> None:
    before: dict[str, Any] = orjson.loads((release / "names.json").read_bytes())
    missing = set(before[kind]) - set(names()[kind]) - successors(kind)
    assert {name for name in missing if f"`{name}`" not in CHANGELOG} == set()
    if IS_RELEASED and release.name == VERSION:
        assert set(before[kind]) == set(names()[kind]), "run: python -m tests.releases"


def test_the_fixtures_are_small() -> None:
    assert FOLDERS
    for folder in FOLDERS:
        assert sum(file.stat().st_size for file in folder.iterdir()) < 100 * 1024
