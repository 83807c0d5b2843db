"""Run a real PostgreSQL server in a temporary folder on a free port."""

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

from tests.stack.waiting import eventually, free_ports, process_tree

_USER = "postgres"  # PostgreSQL refuses to run as root
_NUMBERS = count(1)


class Postgres:
    """A server that can be killed and restarted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        [self.port] = free_ports(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._run("initdb", "-D", "data", "-U", _USER, "-A", "trust", "-N", "-E", "UTF8").wait(60)

    def start(self) -> None:
        """Start the server and wait until it accepts connections."""
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
        eventually(self._accepts, within=30, what="PostgreSQL accepts connections")

    def kill(self) -> None:
        """Kill all processes of the server at once."""
        if self._process is None:
            return
        processes = process_tree(self._process.pid) if self._process.poll() is None else []
        for process in processes:
            process.kill()
        psutil.wait_procs(processes, timeout=20)
        self._process.wait(20)
        self._process = None

    def new_database(self) -> str:
        """Create an empty database and return its URL."""
        name = f"records{next(_NUMBERS)}"
        self.run_sql(f"CREATE DATABASE {name}")
        return f"postgresql://{_USER}@127.0.0.1:{self.port}/{name}"

    def run_sql(self, statement: Any) -> None:
        """Run a statement as superuser."""
        with psycopg.connect(self._address, autocommit=True) as connection:
            connection.execute(statement)

    @property
    def _address(self) -> str:
        return f"host=127.0.0.1 port={self.port} user={_USER} dbname=postgres connect_timeout=2"

    def _accepts(self) -> bool:
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
                [program(name), *arguments],
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


def program(name: str) -> str:
    found = sorted(glob(f"/usr/lib/postgresql/*/bin/{name}"))
    program = found[-1] if found else shutil.which(name)
    assert program, f"{name} is not installed: scripts/setup"
    return program


def _is_root() -> bool:
    return os.geteuid() == 0
