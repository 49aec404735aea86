"""What the audit trail tells of it all, to an auditor.

Here the story leaves the SDK: reading a trail takes logins of its own, at the database and at
the key server.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime

from rich.box import SIMPLE
from rich.table import Table

from examples.osh.cast import COMPARTMENTS, POLICY, VALUES, Cast
from examples.osh.stage import Stage, step
from vault.audit.chain import Link, verify
from vault.dev import Running
from vault.errors import VaultError
from vault.keys.key import KeyKind, KeyName, WrappedKey
from vault.keys.keyring import Keyring
from vault.keys.provision import AUDITOR, audit_transit_key, transit_key
from vault.keys.transit import Transit
from vault.policy import Compartment, Edition, Form, compile_edition
from vault.sealed.v1.sealed_pb2 import AuditEvent
from vault.service.trail import Trail, read_trail
from vault.store.engine import Database, connect
from vault.store.events import read_events
from vault.store.lookups import Lookups

# What must be in the trail: compartment, service, operation, purpose, and why not.
TOLD = {
    ("accounts", "portal", "register", "", ""),
    ("accounts", "portal", "view", "", ""),
    ("accounts", "orders", "reveal", "services", ""),
    ("accounts", "orders", "reveal", "services", "FIELD_BEYOND_PURPOSE"),
    ("accounts", "orders", "reveal", "newsletter", "NOT_GRANTED"),
    ("accounts", "analytics", "reveal", "account", "NOT_GRANTED"),
    ("accounts", "support", "find", "account", ""),
    ("accounts", "support", "reveal", "account", ""),
    ("accounts", "portal", "withdraw_consent", "", ""),
    ("accounts", "orders", "reveal", "services", "CONSENT_REQUIRED"),
    ("accounts", "portal", "erase", "", ""),
    ("accounts", "support", "reveal", "account", "ERASED"),
    ("enterprises", "portal", "register", "", ""),
    ("orders", "portal", "register", "", ""),
    ("web", "analytics", "reveal", "statistics", ""),
    ("web", "analytics", "reveal", "statistics", "NOT_FOUND"),
}


@step("4.1")
def audit_trail(stage: Stage, cast: Cast) -> None:
    """An auditor reads the trail of it all."""
    edition = compile_edition(POLICY.read_text(encoding="utf-8"))
    stage.asks("an auditor: the trail of each compartment")
    trails = asyncio.run(_read(cast.running, edition))
    stage.show(_table(trails, edition))
    happened = {
        (name, event.service, event.operation, event.purpose, event.reason)
        for name, trail in trails.items()
        for event in trail.events
    }
    stage.check("whatever was asked is in it, answered or refused", happened >= TOLD)
    words = str([trail.events for trail in trails.values()])
    stage.check("it tells of no value", not any(value in words for value in VALUES))
    opens_data = asyncio.run(_opens_data(cast.running, edition))
    stage.check("the auditor's login opens the trail, and no data", not opens_data)
    broken = [at for trail in trails.values() for at in trail.breaks]
    stage.check("the chain of each writer holds", bool(happened) and not broken)


@step("4.1")
def event_is_missed(stage: Stage, cast: Cast) -> None:
    """Somebody takes one event out of the trail, and that shows."""
    edition = compile_edition(POLICY.read_text(encoding="utf-8"))
    links = asyncio.run(_links(cast.running, edition))
    stage.asks("whoever owns the database: DELETE the second event of accounts (in a copy)")
    del links[1]
    broken = list(verify(edition.compartments["accounts"].uuid, links))
    stage.answers("; ".join(f"event {at.sequence}: {at.what}" for at in broken))
    stage.check("the chain breaks at that very place", [at.sequence for at in broken] == [1])


async def _read(running: Running, edition: Edition) -> dict[str, Trail]:
    trails = {}
    for name in COMPARTMENTS:
        async with _desk(running, name, edition) as (database, keyring):
            trails[name] = await read_trail(edition.compartments[name].uuid, database, keyring)
    return trails


async def _opens_data(running: Running, edition: Edition) -> bool:
    """Tell whether the auditor's login opens the key that wraps records' data keys."""
    async with _desk(running, "accounts", edition) as (_, keyring):
        try:
            await keyring.get(KeyName(KeyKind.KEK))
        except VaultError:
            return False
        return True


async def _links(running: Running, edition: Edition) -> list[Link]:
    async with _desk(running, "accounts", edition) as (database, _):
        return [Link(*row) async for row in read_events(database)]


@asynccontextmanager
async def _desk(
    running: Running, name: str, edition: Edition
) -> AsyncIterator[tuple[Database, Keyring]]:
    """Open a compartment's database, and its keys with the auditor's login."""
    auditor = Transit(running.key_server, running.key_server_ca, running.app_roles[AUDITOR])
    uuid = edition.compartments[name].uuid
    keyring = Keyring(auditor, transit_key(name), audit_transit_key(name), uuid)
    database = connect(running.owner_urls[name])
    try:
        rows = await Lookups(database).keyring()
        names = [KeyName(KeyKind(row.kind), row.version, row.field) for row in rows]
        keyring.hold(
            [WrappedKey(n, row.state, row.wrapped) for n, row in zip(names, rows, strict=True)]
        )
        yield database, keyring
    finally:
        await database.close()
        auditor.close()


def _table(trails: Mapping[str, Trail], edition: Edition) -> Table:
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("when", no_wrap=True)
    table.add_column("who")
    table.add_column("did")
    table.add_column("outcome", no_wrap=True)
    for name, trail in trails.items():
        table.add_row(name, style="bold")
        for event in trail.events:
            table.add_row(*_row(event, edition.compartments[name]))
        table.add_section()
    return table


def _row(event: AuditEvent, compartment: Compartment) -> tuple[str, str, str, str]:
    when = datetime.fromtimestamp(event.at / 1e6).astimezone()
    purpose = f", for {event.purpose}" if event.purpose else ""
    uses = ", ".join(compartment.by_uid[use.uid].name + _in_form(use.form) for use in event.fields)
    return (
        f"{when:%H:%M:%S}",
        f"{event.service}{purpose}",
        f"{event.operation} {uses}",
        event.reason or "allowed",
    )


def _in_form(form: int) -> str:
    """Say the form that was given; nothing where it was in full, or where none was."""
    return f" ({Form(form).word})" if form in (Form.MASKED, Form.PRESENT) else ""
