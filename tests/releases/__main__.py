"""Write the state of this version as a fixture: `python -m tests.releases`, before its release.

Later versions are tested with these files, so those of a released version never change.
"""

import gzip
import sqlite3
import subprocess
import tomllib
from pathlib import Path

import orjson
from sqlalchemy import update

from safelight.records.backup import back_up
from safelight.records.queries import export_rows
from safelight.records.schema import INSTALLATION
from tests.records.making import fill, opened
from tests.records.postgres import Postgres, postgres, program
from tests.releases.contents import as_toml, monitoring, names, settings

FOLDER = Path(__file__).parent
SALT = "5a" * 32
_ROWS = 12
# Lines of pg_dump that depend on the version of PostgreSQL, and comments.
_LEFT_OUT = ("--", "SET ", "SELECT pg_catalog.set_config", "\\")


def main() -> None:
    """Write all files of the version in pyproject.toml."""
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    folder = FOLDER / project["version"]
    folder.mkdir(exist_ok=True)
    (folder / "monitoring.toml").write_text(as_toml(monitoring()))
    (folder / "safelight.toml").write_text(as_toml(settings()))
    (folder / "names.json").write_bytes(orjson.dumps(names(), option=orjson.OPT_INDENT_2) + b"\n")
    file = folder / "records.db"
    write_records(f"sqlite:///{file}", folder / "export.jsonl")
    with sqlite3.connect(file) as connection:
        (folder / "sqlite.sql").write_text("\n".join(connection.iterdump()) + "\n")
    connection.close()
    with opened(f"sqlite:///{file}") as database:
        back_up(database, folder / "backup.db", lambda *_: None, force=True)
    packed = folder / "backup.db.gz"
    packed.write_bytes(gzip.compress((folder / "backup.db").read_bytes(), mtime=0))
    (folder / "backup.db").unlink()
    file.unlink()
    with postgres() as server:
        url = server.new_database()
        write_records(url)
        (folder / "postgresql.sql").write_text(dump(server, url))


def write_records(url: str, export: Path | None = None) -> None:
    """Write records with a fixed salt, and what `safelight records export` prints of them."""
    with opened(url) as database, database.engine.begin() as connection:
        connection.execute(update(INSTALLATION).values(salt=SALT))
    fill(url, _ROWS)
    if export is None:
        return
    with opened(url) as database:
        lines = [orjson.dumps(row, option=orjson.OPT_SORT_KEYS) for row in export_rows(database)]
    export.write_bytes(b"\n".join(lines) + b"\n")


def dump(server: Postgres, url: str) -> str:
    """Return the statements that create the database."""
    command = [program("pg_dump"), "--inserts", "--no-owner", "--no-privileges", url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = (line for line in done.stdout.splitlines() if not line.startswith(_LEFT_OUT))
    return "\n".join(line for line in lines if line) + "\n"


if __name__ == "__main__":
    main()
