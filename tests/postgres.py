"""A private PostgreSQL server for a test run: made in a temporary folder, gone afterwards."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path


class NoServer(Exception):
    """Why there is no server to test with."""


def _binaries() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    if on_path := shutil.which("initdb"):
        return Path(on_path).parent
    raise NoServer("no PostgreSQL server here: apt-get install postgresql")


def _runner() -> int | None:
    """Give the user to run as: PostgreSQL refuses root."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_uid
    raise NoServer("PostgreSQL refuses to run as root, and there is no other user to run it as")


@contextlib.contextmanager
def postgres_server() -> Iterator[str]:
    """Give the folder of the socket of a server that listens nowhere else."""
    binaries, user = _binaries(), _runner()
    folder = Path(tempfile.mkdtemp(prefix="retain-pg-"))  # short: a socket's path has 107 bytes
    if user is not None:
        os.chown(folder, user, -1)
    data = folder / "data"

    def run(*words: str) -> None:
        done = subprocess.run(words, user=user, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            raise NoServer(f"{Path(words[0]).name}: {(done.stderr or done.stdout).strip()[-300:]}")

    try:
        run(
            *(str(binaries / "initdb"), "-D", str(data), "-U", "retain", "-A", "trust"),
            *("-E", "UTF8", "--locale=C.UTF-8", "--no-sync"),
        )
        options = f"-k {folder} -c listen_addresses='' -c max_connections=60 -c fsync=off"
        log = str(folder / "log")
        run(str(binaries / "pg_ctl"), "-D", str(data), "-w", "-l", log, "-o", options, "start")
        try:
            yield str(folder)
        finally:
            run(str(binaries / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def fresh_database(socket_folder: str, name: str) -> str:
    """Make an empty database; give its address."""
    import psycopg

    with psycopg.connect(host=socket_folder, user="retain", dbname="postgres") as connection:
        connection.autocommit = True
        connection.execute(f'CREATE DATABASE "{name}"')
    return f"postgresql://retain@/{name}?host={socket_folder}"
