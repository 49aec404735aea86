"""A record whose first layer is open: what decisions are made by."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from vault.crypto import record as sealing
from vault.crypto.record import Address, DataKey, SealedRecord, Value
from vault.sealed.v1 import sealed_pb2


@dataclass(frozen=True, slots=True)
class OpenedRecord:
    """A record whose first layer is open: enough to decide. Its values are still sealed.

    `may_open` raises VaultError unless its KEK may be used now.
    """

    address: Address
    data_key: DataKey
    row: SealedRecord
    about: sealed_pb2.Record
    may_open: Callable[[], None]

    def values(self, uids: Iterable[int] | None = None) -> Mapping[int, Value]:
        """Open the second layer for these fields (all, if None); absent ones are left out.

        Call it once the event is durable, or to seal anew in a change. Raises VaultError where
        the keys were suspended since the first layer was opened, or that can't be told.
        """
        self.may_open()
        return sealing.open_fields(self.address, self.data_key, self.row, self.about, uids)
