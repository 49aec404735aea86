"""Apply what `piivault setup` writes. What is there already is left alone, and said nothing of."""

import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vault.errors import VaultError
from vault.keys.provision import AUDIT_KEY, CAPABILITY_KEY, provision, signing_transit_key
from vault.keys.transit import Transit
from vault.names import BROKER, to_base64url
from vault.setup.scram import verifier
from vault.store import rights, role_sql, schema
from vault.store.engine import Database, connect, user_of, within
from vault.store.rights import CONTROL, Role, RoleError, database_of
from vault.store.schema import SchemaError, schema_of

Told = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class PublicKeys:
    """What configurations pin, in base64url; `signing` by compartment."""

    capability: Sequence[str] = ()
    checkpoint: Sequence[str] = ()
    signing: Mapping[str, Sequence[str]] = field(default_factory=dict)


def apply_to_key_server(
    admin: Transit, compartments: tuple[str, ...], folder: Path, told: Told
) -> PublicKeys:
    """Make keys, policies and AppRoles; write the AppRoles' ids into a folder.

    Raises KeyServerError where something is in the way; nothing is overwritten then.
    """
    files = {p.name.removesuffix(".secret-id"): p for p in folder.glob("*.secret-id")}
    known = {name: file.read_text(encoding="ascii") for name, file in files.items()}
    for name, ids in provision(admin, compartments, known, told).items():
        _write(folder / f"{name}.role-id", ids.role_id)
        _write(folder / f"{name}.secret-id", ids.secret_id)
    return PublicKeys(
        _public(admin, CAPABILITY_KEY),
        _public(admin, AUDIT_KEY),
        {name: _public(admin, signing_transit_key(name)) for name in compartments},
    )


def _public(admin: Transit, key: str) -> Sequence[str]:
    return [to_base64url(public) for public in admin.public_keys(key).values()]


async def apply_to_postgresql(
    owner_url: str, compartments: tuple[str, ...], folder: Path, told: Told
) -> None:
    """Make databases, roles with passwords, tables and rights, as the role that will own them.

    Raises RoleError, VaultError(STORAGE_UNAVAILABLE).
    """
    owner = user_of(owner_url)
    if not owner or not owner_url.startswith("postgresql+asyncpg://"):
        raise RoleError(
            "The owner's URL can't be used. Write it "
            "postgresql+asyncpg://OWNER:PASSWORD@HOST:PORT/postgres"
        )
    wanted = rights.roles(compartments)
    server = connect(owner_url)
    try:
        await _make(server, owner, wanted, folder, told)
    except VaultError:
        raise RoleError(
            f"PostgreSQL refused: {owner} may not make roles or databases, didn't make those that "
            "are there, or can't log in. The log names the fault."
        ) from None
    finally:
        await server.close()
    for name in (CONTROL, BROKER, *compartments):
        own = [role for role in wanted if role.database == database_of(name)]
        await _fill(within(owner_url, database_of(name)), name, own, told)


async def _make(
    server: Database, owner: str, wanted: Sequence[Role], folder: Path, told: Told
) -> None:
    """Make roles and databases; give a password to a role that is new, or whose file is gone."""
    before = [role for role in wanted if await role_sql.exists(server, role.name)]
    for step in role_sql.making(wanted, owner):
        if await role_sql.run(server, step) and step.unless:
            told(step.sql)
    for role in wanted:
        file = folder / f"{role.name}.password"
        if role in before and file.exists():
            continue
        password = secrets.token_urlsafe(32)
        await role_sql.run(server, role_sql.setting_password(role.name, verifier(password)))
        _write(file, password)
        told(f"gave {role.name} a password")


async def _fill(url: str, name: str, own: list[Role], told: Told) -> None:
    """Make a database's tables, and give its roles their rights."""
    kind = schema_of(name)
    database = connect(url)
    try:
        try:
            await schema.check(database, kind)
        except SchemaError:
            await schema.upgrade(database, kind)
            told(f"brought {database_of(name)} to this release's schema")
        for role in own:
            await role_sql.grant(database, role.name, role.rights)
    finally:
        await database.close()


def _write(file: Path, secret: str) -> None:
    """Write a file that only its owner may read; leave one alone that says so already."""
    if file.exists() and file.read_text(encoding="ascii") == secret:
        return
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as opened:
        opened.write(secret)
