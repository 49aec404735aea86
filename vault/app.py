"""Put the house together: from settings to a serving process, and back down in order."""

import asyncio
import contextlib
import logging
import random
import resource
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from vault import config
from vault.crypto import capability
from vault.errors import VaultError
from vault.keys.keyring import Keyring, WrongKeyServerError
from vault.keys.transit import AppRole, Transit
from vault.names import from_base64url
from vault.policy import Edition
from vault.rpc.guard import Guard
from vault.rpc.server import Server, Tls
from vault.service.approve import Approvals
from vault.service.compartment import ServedCompartment, WrongDatabaseError
from vault.service.editions import Editions
from vault.service.history import History
from vault.service.house import House
from vault.service.issue import Broker
from vault.service.ledger import ControlChainError
from vault.service.limits import Limits
from vault.service.sweep import sweep
from vault.store import schema
from vault.store.control import ControlChain
from vault.store.engine import Database, connect
from vault.store.schema import Schema, SchemaError

log = logging.getLogger("piivault.app")

_POLL = 1.0  # seconds between looks at the control chain
_GRACE = 5.0  # seconds for calls to finish at the end


class StartError(Exception):
    """The process can't serve; the message says why and what to do."""


@asynccontextmanager
async def running(settings: config.Settings) -> AsyncIterator[int]:
    """Serve while the context lasts; yields the port. Raises StartError."""
    _harden()
    async with AsyncExitStack() as stack:
        try:
            server = await _assemble(settings, stack)
            tls = Tls(
                settings.server.certificate,
                settings.server.private_key,
                settings.server.client_ca,
            )
            port = await server.start(settings.server.address, tls)
        except (
            SchemaError,
            WrongDatabaseError,
            WrongKeyServerError,
            ControlChainError,
            OSError,
            ValueError,
        ) as e:
            raise StartError(str(e)) from None
        except VaultError as e:
            raise StartError(e.message) from None
        stack.push_async_callback(server.drain, _GRACE)
        yield port


async def _assemble(settings: config.Settings, stack: AsyncExitStack) -> Server:
    chain, editions = await _open_editions(settings, stack)
    _check_roles(settings, editions.state().current)
    keys = _capability_keys(settings)
    compartments = {}
    if "worker" in settings.server.roles:
        for name, section in settings.compartments.items():
            compartments[name] = await _open_compartment(
                name, section, settings, editions, keys, stack
            )
    poll = asyncio.create_task(_follow(editions, tuple(compartments.values())))
    stack.push_async_callback(_cancel, poll)
    broker = _open_broker(settings, stack) if "broker" in settings.server.roles else None
    approvals = Approvals(chain, editions) if "control" in settings.server.roles else None
    house = House(editions, compartments, broker, approvals)
    officers = frozenset(o.spiffe for o in settings.officers if o.spiffe)
    guard = Guard(editions.state, officers, settings.server.default_deadline)
    return Server(house, guard, worker=bool(compartments), development=settings.server.development)


async def _open_editions(
    settings: config.Settings, stack: AsyncExitStack
) -> tuple[ControlChain, Editions]:
    database = await _open_database(settings.control, Schema.CONTROL, stack)
    chain = ControlChain(database)
    editions = Editions(chain, officer_keys(settings), settings.server.edition_stale_after)
    await editions.refresh()
    return chain, editions


async def _open_compartment(
    name: str,
    section: config.Compartment,
    settings: config.Settings,
    editions: Editions,
    capability_keys: Mapping[bytes, bytes],
    stack: AsyncExitStack,
) -> ServedCompartment:
    edition = editions.state().current
    declared = edition.compartments.get(name)
    if declared is None:
        raise StartError(
            f"The configuration serves a compartment {name} that edition {edition.number} lacks."
        )
    database = await _open_database(section.database, Schema.COMPARTMENT, stack)
    transit = _log_in(settings, section.login, stack)
    keyring = Keyring(
        transit,
        section.transit_key,
        section.audit_transit_key,
        declared.uuid,
        soft=section.key_soft_ttl,
        hard=section.key_hard_ttl,
    )
    served = ServedCompartment(
        name,
        declared.uuid,
        database,
        keyring,
        capability_keys,
        History(editions),
        Limits(settings.server.find_per_second),
    )
    stack.push_async_callback(served.close)
    sweeper = asyncio.create_task(_sweep(served, editions, section.sweep_interval))
    stack.push_async_callback(_cancel, sweeper)
    try:
        known = await served.establish()
        await editions.check_seen(known.ledger_sequence, known.ledger_head)
        await served.lookups.saw_ledger(editions.ledger.sequence, editions.ledger.head)
    except (WrongDatabaseError, WrongKeyServerError, VaultError) as e:
        raise StartError(f"compartment {name}: {e}") from None
    return served


async def _open_database(section: config.Database, kind: Schema, stack: AsyncExitStack) -> Database:
    database = connect(section.url, section.password_file)
    stack.push_async_callback(database.close)
    await schema.check(database, kind)
    return database


def _open_broker(settings: config.Settings, stack: AsyncExitStack) -> Broker:
    section = settings.broker
    if section is None:
        raise StartError("The role broker needs a section [broker] in the configuration.")
    transit = _log_in(settings, section.login, stack)
    return Broker(transit, section.pseudonym_key, section.capability_key, section.capability_ttl)


def _log_in(settings: config.Settings, login: config.Login, stack: AsyncExitStack) -> Transit:
    server = settings.key_server
    transit = Transit(
        server.address,
        server.ca,
        AppRole(login.role_id_file, login.secret_id_file),
        server.mount,
        server.timeout,
    )
    stack.callback(transit.close)
    return transit


def _check_roles(settings: config.Settings, edition: Edition) -> None:
    """Refuse what would put together in one process what walls keep apart."""
    if settings.server.development:
        return
    if "broker" in settings.server.roles and len(settings.server.roles) > 1:
        raise StartError(
            "A broker meets root ids: it plays no other role outside development. "
            "Run it as a process of its own."
        )
    served = sorted(settings.compartments)
    apart = [
        f"{a} and {b}"
        for i, a in enumerate(served)
        for b in served[i + 1 :]
        if frozenset((a, b)) not in edition.joinable
    ]
    if "worker" in settings.server.roles and apart:
        raise StartError(
            f"This process would hold compartments that aren't joinable: {', '.join(apart)}. "
            "Serve them from processes of their own."
        )


def _capability_keys(settings: config.Settings) -> dict[bytes, bytes]:
    keys = [_public_key(text, "capability_keys") for text in settings.capability_keys]
    return {capability.key_id(key): key for key in keys}


def officer_keys(settings: config.Settings) -> dict[str, bytes]:
    """Return the officers' public keys by name; raise StartError if one is malformed."""
    return {o.name: _public_key(o.public_key, f"officer {o.name}") for o in settings.officers}


def _public_key(text: str, what: str) -> bytes:
    try:
        raw = from_base64url(text)
    except ValueError:
        raw = b""
    if len(raw) != 32:
        raise StartError(f"{what}: an ed25519 public key is 32 bytes in base64url.")
    return raw


async def _follow(editions: Editions, compartments: Sequence[ServedCompartment]) -> None:
    """Keep to the control chain, and note in each database how far it was seen."""
    while True:
        await asyncio.sleep(_POLL)
        try:
            before = editions.ledger
            await editions.refresh()
            if editions.ledger.sequence > before.sequence:
                for served in compartments:
                    await served.lookups.saw_ledger(editions.ledger.sequence, editions.ledger.head)
        except (VaultError, ControlChainError) as e:
            log.error("control chain: %s", e)


async def _sweep(served: ServedCompartment, editions: Editions, interval: float) -> None:
    """Erase what fell due, again and again."""
    while True:
        await asyncio.sleep(interval * random.uniform(0.9, 1.1))  # noqa: S311 -- spreads load
        try:
            await sweep(served, editions.state)
        except VaultError as e:
            log.error("sweeping %s: %s", served.name, e)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _harden() -> None:
    """Leave no core dump: it would hold keys."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
