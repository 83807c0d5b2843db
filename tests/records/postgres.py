"""A real PostgreSQL, in a folder of its own, on a free port, ended whatever happens."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from glob import glob
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import psycopg

from tests.stack.waiting import eventually, family, free_ports

_USER = "postgres"  # root may not run it
_NUMBERS = count(1)


class Postgres:
    """A server that can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        [self.port] = free_ports(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._run("initdb", "-D", "data", "-U", _USER, "-A", "trust", "-N", "-E", "UTF8").wait(60)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = self._run(
            "postgres",
            "-D",
            "data",
            "-p",
            str(self.port),
            "-k",
            str(self.folder),
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            "max_connections=20",
        )
        eventually(self._answers, within=30, what="PostgreSQL answers")

    def kill(self) -> None:
        """Kill it and all its processes, in the middle of whatever they do."""
        if self._process is None:
            return
        processes = family(self._process.pid) if self._process.poll() is None else []
        for process in processes:
            process.kill()
        psutil.wait_procs(processes, timeout=20)
        self._process.wait(20)
        self._process = None

    def new_database(self) -> str:
        """Make an empty database; return its URL."""
        name = f"records{next(_NUMBERS)}"
        self.run_sql(f"CREATE DATABASE {name}")
        return f"postgresql://{_USER}@127.0.0.1:{self.port}/{name}"

    def run_sql(self, statement: Any) -> None:
        """Run a statement as the server's owner."""
        with psycopg.connect(self._address, autocommit=True) as connection:
            connection.execute(statement)

    @property
    def _address(self) -> str:
        return f"host=127.0.0.1 port={self.port} user={_USER} dbname=postgres connect_timeout=2"

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()
        try:
            psycopg.connect(self._address).close()
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        user = _USER if _is_root() else None
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [_program(name), *arguments],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=user,
                group=user,
                extra_groups=[] if user else None,
            )


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Run a server until the block ends."""
    folder = Path(tempfile.mkdtemp(prefix="safelight-postgres-"))
    server: Postgres | None = None
    try:
        if _is_root():
            shutil.chown(folder, _USER, _USER)
        server = Postgres(folder)
        server.start()
        yield server
    finally:
        if server is not None:
            server.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _program(name: str) -> str:
    found = sorted(glob(f"/usr/lib/postgresql/*/bin/{name}"))
    program = found[-1] if found else shutil.which(name)
    assert program, f"{name} is not installed: scripts/setup"
    return program


def _is_root() -> bool:
    return os.geteuid() == 0
