"""How a compartment's keys are: what each version may do, what needs it, how much it was used."""

from collections.abc import Mapping
from dataclasses import dataclass

from vault.keys.key import KeyKind, KeyName, KeyState, WrappedKey, transit_version
from vault.service.compartment import ServedCompartment
from vault.service.epoch import Erasures, erasures
from vault.service.rotation import Level
from vault.store import keys as store
from vault.store.rotations import DONE, rotations

# Random nonces of 96 bits: so many invocations of AES-GCM a key (NIST SP 800-38D, section 8.3).
MOST_INVOCATIONS = 2**32
_ENCRYPTS = frozenset({KeyKind.KEK, KeyKind.AUDIT})


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """How one version is. Times are in seconds since 1970, 0 where nobody knows.

    `why_not` says why it can't be trimmed away; empty if it can. `invocations` is None where that
    isn't known or means nothing.
    """

    name: KeyName
    state: str
    created: int
    transit_version: int
    data_keys: int
    invocations: int | None
    last_used: int
    why_not: str

    @property
    def most_invocations(self) -> int:
        """How often it may encrypt; 0 for a key that doesn't."""
        return MOST_INVOCATIONS if self.name.kind in _ENCRYPTS else 0


@dataclass(frozen=True, slots=True)
class TransitStatus:
    """A Transit key, and the oldest version of it that something is wrapped under."""

    name: str
    oldest_needed: int


@dataclass(frozen=True, slots=True)
class SigningStatus:
    """The key that signs what subjects are handed: the version that does, and its public half."""

    name: str
    version: int
    public_key: bytes


@dataclass(frozen=True, slots=True)
class RingStatus:
    """How a compartment's keys are."""

    suspended: bool
    epoch: int
    keys: tuple[KeyStatus, ...]
    transit: tuple[TransitStatus, TransitStatus]  # of the data, of the trail
    superseded_data_keys: int
    erasures: Erasures
    signing: SigningStatus | None  # None where no version is pinned


async def ring_status(served: ServedCompartment) -> RingStatus:
    """Look at the database and count. Raises VaultError(STORAGE_UNAVAILABLE, KEYS_UNAVAILABLE)."""
    await served.look_at_keys()
    ring = served.keyring
    wrapped = await store.count_data_keys(served.database)
    events = await store.estimate_events(served.database)
    rows = sorted(ring.rows, key=lambda r: (r.name.kind, r.name.field, r.name.version))
    keys = tuple(_status(row, wrapped, events, ring.last_use(row.name)) for row in rows)
    return RingStatus(
        ring.suspended,
        ring.epoch,
        keys,
        await _transit(served),
        await _superseded(served),
        await erasures(served),
        await _signing(served),
    )


async def _signing(served: ServedCompartment) -> SigningStatus | None:
    signs = await served.signing.signs_with()
    return SigningStatus(served.signing.name, *signs) if signs else None


async def _superseded(served: ServedCompartment) -> int:
    """Return how many data keys were superseded since any were dropped: at most, and no count.

    To count them takes seconds where there are a million.
    """
    found = 0
    for row in await rotations(served.database):  # the newest first
        if row.level == Level.SUPERSEDED and row.state == DONE:
            break
        found += row.done if row.level == Level.DATA_KEY else 0
    return found


async def _transit(served: ServedCompartment) -> tuple[TransitStatus, TransitStatus]:
    identity = await served.lookups.identity()
    data, trail = served.keyring.transit_keys
    versions: dict[bool, list[int]] = {False: [], True: []}  # whether of the trail
    for row in served.keyring.rows:
        if row.wrapped:
            versions[row.name.kind is KeyKind.AUDIT].append(transit_version(row.wrapped))
    versions[False].append(transit_version(identity.canary) if identity else 0)
    return TransitStatus(data, min(versions[False])), TransitStatus(
        trail, min(versions[True], default=0)
    )


def _status(
    row: WrappedKey, wrapped: Mapping[int, int], events: int | None, last_used: int
) -> KeyStatus:
    name = row.name
    data_keys = wrapped.get(name.version, 0) if name.kind is KeyKind.KEK else 0
    invocations = {KeyKind.KEK: data_keys, KeyKind.AUDIT: events}.get(name.kind)
    return KeyStatus(
        name=name,
        state=row.state,
        created=row.created,
        transit_version=transit_version(row.wrapped),
        data_keys=data_keys,
        invocations=invocations,
        last_used=last_used,
        why_not=_why_not(row, data_keys),
    )


def _why_not(row: WrappedKey, data_keys: int) -> str:
    if row.state == KeyState.DESTROYED:
        return "it is destroyed already"
    if row.state == KeyState.ACTIVE:
        return "it is active: rotate first"
    if row.state == KeyState.BUILDING:
        return "its index is being built"
    match row.name.kind:
        case KeyKind.KEK if not data_keys:
            return ""
        case KeyKind.KEK:
            return f"it wraps {data_keys} data keys: rotate the KEK, which wraps them anew"
        case KeyKind.INDEX:
            return "look-ups need it until the rotation of this index has ended"
        case KeyKind.AUDIT:
            return "events of the trail are sealed under it"
        case KeyKind.LOOKUP:
            return "tombstones of the erased are made with it"
