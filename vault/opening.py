"""Open what a process serves: each part under its own login, or a StartError that names it.

Whatever is opened is closed by the stack that it was opened on.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager

from vault import config
from vault.audit.signed import by_id
from vault.crypto import capability
from vault.crypto.assertion import PinnedKey, PinnedProvider, read_public_key
from vault.errors import Reason, VaultError
from vault.keys.keyring import Keyring, WrongKeyServerError
from vault.keys.signing import SigningKey
from vault.logins import LoginError, log_in, open_database
from vault.names import BROKER, BROKER_TRAIL, read_ed25519_key
from vault.policy import Edition
from vault.roles import control_rights
from vault.service.auditor import look_at_trail
from vault.service.audits import Audited, Audits
from vault.service.broker_trail import BrokerTrail
from vault.service.checkpoints import Checkpoints, Pace
from vault.service.compartment import ServedCompartment, WrongDatabaseError
from vault.service.control_checkpoints import ControlCheckpoints
from vault.service.editions import Editions
from vault.service.history import History
from vault.service.issue import Broker
from vault.service.ledger import ControlChainError
from vault.service.limits import Limits
from vault.service.metrics import Metrics
from vault.service.reading import TrailReader
from vault.service.shipping import Shipping
from vault.service.signer import Signer
from vault.service.trail import AuditedTrail, follow_states
from vault.service.watch import Most, Thresholds
from vault.service.watching import Watching
from vault.store.control import ControlChain
from vault.store.rights import Rights, auditor_rights
from vault.store.schema import Schema, SchemaError, schema_of

log = logging.getLogger("piivault.app")


class StartError(Exception):
    """The process can't serve; the message says why and what to do."""


# What to do about a part that doesn't answer; all other faults say it themselves.
_REMEDIES = {
    Reason.KEYS_UNAVAILABLE: "The key server doesn't answer, is sealed, or refuses the login. "
    "Check [key_server] and `login`; the log names the fault.",
    Reason.STORAGE_UNAVAILABLE: "The database can't be asked. Check that it runs, its `url` and "
    "`password_file`; the log names the fault.",
}


@contextmanager
def opening(part: str) -> Iterator[None]:
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


async def open_editions(
    settings: config.Settings, stack: AsyncExitStack
) -> tuple[ControlChain, Editions]:
    """Open the control database and read its chain."""
    rights = control_rights(settings.server.roles)
    database = await open_database(settings, settings.control, Schema.CONTROL, rights, stack)
    chain = ControlChain(database)
    editions = Editions(chain, officer_keys(settings), settings.server.edition_stale_after)
    await editions.refresh()
    return chain, editions


async def open_compartment(
    name: str,
    section: config.Compartment,
    settings: config.Settings,
    editions: Editions,
    capability_keys: Mapping[bytes, bytes],
    stack: AsyncExitStack,
    metrics: Metrics | None = None,
) -> ServedCompartment:
    """Open a compartment: its database, its keys, and what both know of each other."""
    uuid = _uuid_of(name, section, editions.state().current)
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
    pinned = [_public_key(text, "signing_keys") for text in section.signing_keys]
    signing = SigningKey(transit, section.signing_transit_key, pinned)
    retention = settings.key_server.snapshot_retention_days if settings.key_server else None
    served = ServedCompartment(
        name,
        uuid,
        database,
        keyring,
        capability_keys,
        history,
        Limits(settings.server.find_per_second, settings.server.pages_per_second),
        denials_per_second=settings.server.denials_per_second,
        metrics=metrics,
        key_stale_after=section.key_stale_after,
        snapshot_retention_days=retention,
        most_records=settings.server.most_records,
        signing=signing,
    )
    stack.push_async_callback(served.close)
    known = await served.establish()
    if await signing.signs_with() is None:
        raise StartError(
            f"compartment {name}: its key for attestations isn't among `signing_keys`, so no "
            "subject would believe what it signs. `piivault setup --apply` writes them."
        )
    await editions.check_seen(known.ledger_sequence, known.ledger_head)
    await history.provisioned(uuid)
    await served.lookups.saw_ledger(editions.ledger.sequence, editions.ledger.head)
    return served


def _uuid_of(name: str, section: config.Compartment, edition: Edition) -> bytes:
    if declared := edition.compartments.get(name):
        return declared.uuid
    if section.uuid:
        return section.uuid.bytes
    raise StartError(
        f"Edition {edition.number} lacks the compartment {name} of the configuration. "
        "Give its `uuid` to provision it before an edition brings it."
    )


async def open_broker(
    settings: config.Settings,
    edition: Edition,
    capability_keys: Mapping[bytes, bytes],
    stack: AsyncExitStack,
) -> Broker:
    """Open the broker. It has no data of its own that would tell it the wrong key server."""
    section = settings.broker
    assert section is not None  # noqa: S101 -- `faults` saw to it
    asking = [its.name for its in edition.services.values() if its.require_subject_assertion]
    if asking and not section.identity_providers:
        raise StartError(
            f"broker: edition {edition.number} has {', '.join(asking)} act only for subjects who "
            "are there, and no identity provider is pinned that could say so. Pin it and its keys "
            "under [[broker.identity_providers]]."
        )
    transit = await log_in(settings, section.login, stack)
    signing = SigningKey(transit, section.capability_key, frozenset(capability_keys.values()))
    if await signing.signs_with() is None:
        raise StartError(
            "broker: its key for capabilities isn't among `capability_keys`, so no worker would "
            "take what it issues. Check that [key_server] is the one that this house began with."
        )
    return Broker(
        transit,
        section.pseudonym_key,
        signing,
        section.capability_ttl,
        [_identity_provider(provider) for provider in section.identity_providers],
    )


async def open_broker_trail(
    settings: config.Settings, metrics: Metrics, stack: AsyncExitStack
) -> BrokerTrail:
    """Open the broker's own trail: its database, which holds nothing else, and its key."""
    section = settings.broker
    assert section is not None  # noqa: S101 -- `faults` saw to it
    database = await open_database(settings, section.database, Schema.BROKER, Rights.BROKER, stack)
    transit = await log_in(settings, section.login, stack)
    keyring = Keyring(transit, "", section.audit_transit_key, BROKER_TRAIL)
    trail = BrokerTrail(database, keyring, settings.server.denials_per_second, metrics)
    stack.push_async_callback(trail.close)
    await trail.establish()
    return trail


async def open_trails(
    settings: config.Settings, edition: Edition, stack: AsyncExitStack
) -> Mapping[str, AuditedTrail]:
    """Open every trail of [auditor], and look at its end."""
    section = settings.auditor
    assert section is not None  # noqa: S101 -- `faults` saw to it
    transit = await log_in(settings, section.login, stack)
    trails = {}
    for name, part in section.trails.items():
        uuid = BROKER_TRAIL if name == BROKER else edition.compartment(name).uuid
        database = await open_database(
            settings, part.database, schema_of(name), auditor_rights(name), stack
        )
        keyring = Keyring(transit, "", part.audit_transit_key, uuid)
        follow_states(name, keyring, database, section.key_stale_after)
        await look_at_trail(name, uuid, database, keyring)
        trails[name] = AuditedTrail(uuid, database, keyring)
    return trails


async def open_checkpoints(
    settings: config.Settings, trails: Mapping[str, AuditedTrail], stack: AsyncExitStack
) -> tuple[Sequence[Checkpoints], ControlCheckpoints]:
    """Open what makes the checkpoints of each trail, and those of the control chain."""
    section = settings.auditor
    assert section is not None  # noqa: S101 -- `faults` saw to it
    signer = Signer(await log_in(settings, section.login, stack), section.signing_key)
    pinned = checkpoint_keys(section)
    if pinned and not (await signer.keys()).keys() <= pinned.keys():
        raise StartError(
            "auditor: its key for checkpoints isn't among `checkpoint_keys`, so nobody would "
            "believe what it signs. Check that [key_server] is the one that this house began "
            "with; if the key was rotated, add its new public half: `piivault audit keys`."
        )
    shipping = Shipping(section.ship_file, stdout=section.ship_stdout)
    if shipping.goes_nowhere and not settings.server.development:
        log.warning(
            "checkpoints are shipped nowhere: whoever holds a database can cut off its trail, "
            "unseen. Set `ship_file` or `ship_stdout` in [auditor]."
        )
    pace = Pace(section.checkpoint_events, section.checkpoint_interval, section.keep_days)
    made = [
        Checkpoints(name, trail.compartment, trail.database, signer, shipping, pace)
        for name, trail in trails.items()
    ]
    return made, ControlCheckpoints(signer, shipping)


def open_audits(
    section: config.Auditor,
    trails: Mapping[str, AuditedTrail],
    editions: Editions,
    metrics: Metrics,
) -> tuple[Audits, Mapping[str, Watching]]:
    """Open each trail for officers to look into, and a watch over it."""
    shipping = Shipping(section.alarm_file, stdout=section.ship_stdout)
    thresholds = _thresholds(section.thresholds)
    audits, watchings = {}, {}
    for name, trail in trails.items():
        reader = TrailReader(trail.compartment, trail.database, trail.keyring)
        watching = Watching(name, reader, editions, thresholds, metrics, shipping.ship)
        audits[name] = Audited(reader, watching.follower, editions)
        watchings[name] = watching
    return Audits(audits), watchings


def _thresholds(section: config.Watched) -> Thresholds:
    return Thresholds(
        section.window,
        _most(section),
        {name: _most(own) for name, own in section.services.items()},
        section.checkpoint_overdue,
        section.old_edition,
        section.again,
    )


def _most(section: config.Thresholds) -> Most:
    return Most(section.subjects, section.reveals, section.denials)


def checkpoint_keys(section: config.Auditor) -> dict[bytes, bytes]:
    """Return the pinned keys of checkpoints by key id; raise StartError if one is none."""
    return by_id(_public_key(text, "checkpoint_keys") for text in section.checkpoint_keys)


def capability_keys(settings: config.Settings) -> dict[bytes, bytes]:
    """Return the pinned public keys of capabilities by key id; raise StartError if one is none."""
    keys = [_public_key(text, "capability_keys") for text in settings.capability_keys]
    return {capability.key_id(key): key for key in keys}


def officer_keys(settings: config.Settings) -> dict[str, bytes]:
    """Return the officers' public keys by name; raise StartError if one is malformed."""
    return {o.name: _public_key(o.public_key, f"officer {o.name}") for o in settings.officers}


def _identity_provider(section: config.IdentityProvider) -> PinnedProvider:
    keys = {
        key.id: PinnedKey(key.algorithm, read_public_key(key.algorithm, key.public_key))
        for key in section.keys
    }
    return PinnedProvider(section.issuer, section.audience, keys)


def _public_key(text: str, what: str) -> bytes:
    try:
        return read_ed25519_key(text)
    except ValueError as e:
        raise StartError(f"{what}: {e}") from None
