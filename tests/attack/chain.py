"""The hand of the control database's administrator: reads the chain, and writes another.

actors.chain.ledger().blocks                     # what it says to whoever reads it now
actors.chain.append((BLOCK, body, signatures))   # well linked, whoever signed
actors.chain.write(relinked(entries))            # another chain in its place
"""

import asyncio
from collections.abc import Iterable, Mapping

from tests.split import SplitHouse
from vault.opening import officer_keys
from vault.service.ledger import Entry, Ledger
from vault.store.control import ControlChain
from vault.store.engine import connect


class Chain:
    """The control chain of a house, as its database's owner has it."""

    def __init__(self, house: SplitHouse) -> None:
        self._house = house
        self._known = Ledger(self.keys())  # as it was read last: to follow anew takes long

    def keys(self) -> Mapping[str, bytes]:
        """Return the officers' public keys, as every process pins them."""
        return officer_keys(self._house.settings_of("broker"))

    def read(self) -> list[Entry]:
        """Return the entries as they are stored."""

        async def read() -> list[Entry]:
            database = connect(self._house.running.owner_urls["control"])
            try:
                rows = await ControlChain(database).since(0)
            finally:
                await database.close()
            return [Entry(r.sequence, r.previous, r.kind, r.body, r.signatures) for r in rows]

        return asyncio.run(read())

    def ledger(self) -> Ledger:
        """Return what the chain says to whoever reads it now."""
        entries, known = self.read(), self._known
        there = entries[known.sequence - 1 : known.sequence] if known.sequence else []
        if not there or there[0].hash != known.head:
            known = Ledger(self.keys())
        self._known = known.follow(entries[known.sequence :])
        return self._known

    def write(self, entries: Iterable[Entry]) -> None:
        """Put another chain in its place, in one transaction."""
        self._insert(entries, "DELETE FROM chain")

    def append(self, *what: tuple[str, bytes, bytes]) -> None:
        """Write entries (kind, body, signatures) behind the last one, well linked."""
        known = self.read()
        new = [Entry(0, b"", kind, body, signatures) for kind, body, signatures in what]
        self._insert(relinked([*known, *new])[len(known) :])

    def _insert(self, entries: Iterable[Entry], *before: str) -> None:
        rows = [
            f"({e.sequence}, '\\x{e.previous.hex()}', '{e.kind}', "
            f"'\\x{e.body.hex()}', '\\x{e.signatures.hex()}')"
            for e in entries
        ]
        put = [f"INSERT INTO chain VALUES {', '.join(rows)}"] if rows else []
        self._house.sql_as("piivault_owner", *before, *put, database="piivault_control")


def relinked(entries: Iterable[Entry]) -> list[Entry]:
    """Link entries anew, as they stand: hashes have no key, so anybody can."""
    linked: list[Entry] = []
    for entry in entries:
        previous = linked[-1].hash if linked else bytes(32)
        last = linked[-1].sequence if linked else 0
        linked.append(Entry(last + 1, previous, entry.kind, entry.body, entry.signatures))
    return linked
