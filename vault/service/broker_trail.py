"""The broker's own trail: written as a compartment's is, into a database that holds nothing else.

It has no canary: a key server that can't open the trail's key is noticed when the broker starts.
"""

from vault.audit.chain import Chain
from vault.audit.event import Event
from vault.errors import Reason, VaultError
from vault.keys.key import KeyKind, KeyName, WrappedKey
from vault.keys.keyring import Keyring
from vault.names import BROKER, BROKER_TRAIL
from vault.service.compartment import WrongDatabaseError
from vault.service.flood import Flood
from vault.service.metrics import Metrics
from vault.store.broker import found_trail, whose_trail
from vault.store.commit import Committer
from vault.store.engine import Database
from vault.store.lookups import KeyRow, Lookups

_NO_EPOCH = 0  # nothing but events is committed here


class BrokerTrail:
    """This process's chain in the broker's trail. `keyring` is that of the uuid BROKER_TRAIL."""

    name = BROKER

    def __init__(
        self, database: Database, keyring: Keyring, denials_per_second: float, metrics: Metrics
    ) -> None:
        self._database = database
        self.keyring = keyring
        chain = Chain(BROKER_TRAIL, self._audit_key)
        self.committer: Committer[Event] = Committer(
            database, chain, lambda: _NO_EPOCH, metrics.wrote(self.name)
        )
        # A broker looks at no data, so that none of its denials says anything about a subject.
        self.flood = Flood(self.committer.record, denials_per_second, counts=frozenset(Reason))

    async def establish(self) -> None:
        """Begin a new database, and open the trail's key.

        Raises WrongDatabaseError, VaultError(STORAGE_UNAVAILABLE, KEYS_UNAVAILABLE, DAMAGED). Two
        processes that meet a new database together end with the key of one of them.
        """
        if await whose_trail(self._database) is None:
            key = await self.keyring.new_key(KeyName(KeyKind.AUDIT))
            name = key.name
            row = KeyRow(name.kind, name.field, name.version, key.state, key.wrapped)
            await found_trail(self._database, BROKER_TRAIL, row)
        if await whose_trail(self._database) != BROKER_TRAIL:
            raise WrongDatabaseError(
                "This database holds another trail than the broker's. Check the `url` in the "
                "configuration; nothing was changed."
            )
        rows = await Lookups(self._database).keyring()
        self.keyring.hold(
            [WrappedKey(KeyName(KeyKind.AUDIT, r.version), r.state, r.wrapped) for r in rows]
        )
        await self._audit_key()

    async def record(self, event: Event) -> None:
        """Return once an event is durable. Raises VaultError(AUDIT_UNAVAILABLE)."""
        await self.committer.record(event)

    async def close(self) -> None:
        """Finish what waits."""
        await self.flood.close()
        await self.committer.close()

    async def _audit_key(self) -> tuple[bytes, int]:
        name = self.keyring.latest(KeyKind.AUDIT)
        if name is None:
            raise VaultError(Reason.DAMAGED, "The keyring of the broker's trail lacks its key.")
        return await self.keyring.get(name), name.version
