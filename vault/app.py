"""Put the house together: from settings to a serving process, and back down in order."""

import asyncio
import contextlib
import logging
import random
import resource
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

from vault import config
from vault.crypto import capability
from vault.errors import Reason, VaultError
from vault.keys.keyring import Keyring, WrongKeyServerError
from vault.logins import LoginError, log_in, open_database
from vault.names import from_base64url
from vault.policy import Edition
from vault.roles import apart, control_rights, faults
from vault.rpc.guard import Guard
from vault.rpc.server import Server, Tls
from vault.service.approve import Approvals
from vault.service.auditor import look_at_trail
from vault.service.compartment import ServedCompartment, WrongDatabaseError
from vault.service.editions import Editions
from vault.service.history import History
from vault.service.house import House
from vault.service.issue import Broker
from vault.service.ledger import EDITION, ControlChainError
from vault.service.limits import Limits
from vault.service.sweep import sweep
from vault.service.trail import AuditedTrail
from vault.store.control import ControlChain
from vault.store.rights import Rights
from vault.store.schema import Schema, SchemaError

log = logging.getLogger("piivault.app")

_POLL = 1.0  # seconds between looks at the control chain
_GRACE = 5.0  # seconds for calls to finish at the end


class StartError(Exception):
    """The process can't serve; the message says why and what to do."""


# What to do about a part that doesn't answer; all other faults say it themselves.
_REMEDIES = {
    Reason.KEYS_UNAVAILABLE: "The key server doesn't answer, is sealed, or refuses the login. "
    "Check [key_server] and `login`; the log names the fault.",
    Reason.STORAGE_UNAVAILABLE: "The database can't be asked. Check that it runs, its `url` and "
    "`password_file`; the log names the fault.",
}


@asynccontextmanager
async def running(settings: config.Settings) -> AsyncIterator[int]:
    """Serve while the context lasts; yields the port. Raises StartError."""
    _harden()
    async with AsyncExitStack() as stack:
        server = await _assemble(settings, stack)
        with _opening("server"):
            tls = Tls(
                settings.server.certificate,
                settings.server.private_key,
                settings.server.client_ca,
            )
            port = await server.start(settings.server.address, tls)
        stack.push_async_callback(server.drain, _GRACE)
        yield port


@asynccontextmanager
async def opened(
    settings: config.Settings, name: str
) -> AsyncIterator[tuple[ServedCompartment, Editions]]:
    """Open one compartment of the configuration without serving it. Raises StartError."""
    async with AsyncExitStack() as stack:
        _, editions = await _open_editions(settings, stack)
        section, keys = settings.compartments[name], _capability_keys(settings)
        yield await _open_compartment(name, section, settings, editions, keys, stack), editions


async def publish_first(
    settings: config.Settings, body: bytes, signatures: Mapping[str, bytes]
) -> bool:
    """Publish the edition that a house begins with; return False if there is one already.

    Takes control's own settings. Raises StartError, EditionError.
    """
    with _opening("control"):
        async with AsyncExitStack() as stack:
            _, editions = await _open_editions(settings, stack)
            if editions.ledger.newest is not None:
                return False
            await editions.add(lambda ledger: ledger.next(EDITION, body, signatures))
            return True


@contextmanager
def _opening(part: str) -> Iterator[None]:
    """Turn whatever is wrong with a part of the house into a StartError that names the part."""
    try:
        yield
    except VaultError as e:
        raise StartError(f"{part}: {_REMEDIES.get(e.reason, e.message)}") from None
    except OSError as e:
        fault = f"{e.filename} can't be read: {e.strerror}." if e.filename else str(e)
        raise StartError(f"{part}: {fault}") from None
    except (
        LoginError,
        SchemaError,
        WrongDatabaseError,
        WrongKeyServerError,
        ControlChainError,
        ValueError,
    ) as e:
        raise StartError(f"{part}: {e}") from None


async def _assemble(settings: config.Settings, stack: AsyncExitStack) -> Server:
    _refuse(faults(settings))
    with _opening("control"):
        chain, editions = await _open_editions(settings, stack)
        edition = editions.state().current
    _refuse(apart(settings, edition))
    keys = _capability_keys(settings)
    compartments = {}
    if "worker" in settings.server.roles:
        for name, section in settings.compartments.items():
            with _opening(f"compartment {name}"):
                compartments[name] = await _open_compartment(
                    name, section, settings, editions, keys, stack
                )
    poll = asyncio.create_task(_follow(editions, tuple(compartments.values())))
    stack.push_async_callback(_cancel, poll)
    broker = None
    if "broker" in settings.server.roles:
        with _opening("broker"):
            broker = await _open_broker(settings, keys, stack)
    if "auditor" in settings.server.roles:
        with _opening("auditor"):
            await _open_trails(settings, edition, stack)
    approvals = Approvals(chain, editions) if "control" in settings.server.roles else None
    house = House(editions, compartments, broker, approvals)
    officers = frozenset(o.spiffe for o in settings.officers if o.spiffe)
    guard = Guard(editions.state, officers, settings.server.default_deadline)
    return Server(house, guard, worker=bool(compartments), development=settings.server.development)


def _refuse(found: Sequence[str]) -> None:
    if found:
        raise StartError("\n".join(found))


async def _open_editions(
    settings: config.Settings, stack: AsyncExitStack
) -> tuple[ControlChain, Editions]:
    rights = control_rights(settings.server.roles)
    database = await open_database(settings, settings.control, Schema.CONTROL, rights, stack)
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
    uuid = declared.uuid if declared else section.uuid.bytes if section.uuid else b""
    if not uuid:
        raise StartError(
            f"Edition {edition.number} lacks the compartment {name} of the configuration. "
            "Give its `uuid` to provision it before an edition brings it."
        )
    history = History(editions)
    database = await open_database(
        settings, section.database, Schema.COMPARTMENT, Rights.WORKER, stack
    )
    transit = await log_in(settings, section.login, stack)
    keyring = Keyring(
        transit,
        section.transit_key,
        section.audit_transit_key,
        uuid,
        soft=section.key_soft_ttl,
        hard=section.key_hard_ttl,
    )
    served = ServedCompartment(
        name,
        uuid,
        database,
        keyring,
        capability_keys,
        history,
        Limits(settings.server.find_per_second),
    )
    stack.push_async_callback(served.close)
    sweeper = asyncio.create_task(_sweep(served, editions, section.sweep_interval))
    stack.push_async_callback(_cancel, sweeper)
    known = await served.establish()
    await editions.check_seen(known.ledger_sequence, known.ledger_head)
    await history.provisioned(uuid)
    await served.lookups.saw_ledger(editions.ledger.sequence, editions.ledger.head)
    return served


async def _open_broker(
    settings: config.Settings, pinned: Mapping[bytes, bytes], stack: AsyncExitStack
) -> Broker:
    """Open the broker. It has no data of its own that would tell it the wrong key server."""
    section = settings.broker
    assert section is not None  # noqa: S101 -- `faults` saw to it
    transit = await log_in(settings, section.login, stack)
    broker = Broker(transit, section.pseudonym_key, section.capability_key, section.capability_ttl)
    if capability.key_id(await broker.public_key()) not in pinned:
        raise StartError(
            "broker: its key for capabilities isn't among `capability_keys`, so no worker would "
            "take what it issues. Check that [key_server] is the one that this house began with."
        )
    return broker


@asynccontextmanager
async def audited(
    settings: config.Settings,
) -> AsyncIterator[tuple[Editions, Mapping[str, AuditedTrail]]]:
    """Open the editions and every trail of [auditor], without serving. Raises StartError."""
    async with AsyncExitStack() as stack:
        if settings.auditor is None:
            raise StartError("The configuration has no [auditor]: this is for the auditor.")
        _, editions = await _open_editions(settings, stack)
        yield editions, await _open_trails(settings, editions.state().current, stack)


async def _open_trails(
    settings: config.Settings, edition: Edition, stack: AsyncExitStack
) -> Mapping[str, AuditedTrail]:
    section = settings.auditor
    assert section is not None  # noqa: S101 -- `faults` saw to it
    transit = await log_in(settings, section.login, stack)
    trails = {}
    for name, part in section.compartments.items():
        uuid = edition.compartment(name).uuid
        database = await open_database(
            settings, part.database, Schema.COMPARTMENT, Rights.AUDITOR, stack
        )
        keyring = Keyring(transit, "", part.audit_transit_key, uuid)
        await look_at_trail(name, uuid, database, keyring)
        trails[name] = AuditedTrail(uuid, database, keyring)
    return trails


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
    noted = editions.ledger
    while True:
        await asyncio.sleep(_POLL)
        try:
            await editions.refresh()
            ledger = editions.ledger
            if ledger.sequence > noted.sequence:  # read just now, or written by a first touch
                for served in compartments:
                    await served.lookups.saw_ledger(ledger.sequence, ledger.head)
                noted = ledger
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
