"""Looking into trails: pages of events, and counts, of one compartment at a time.

Whatever is asked, one look opens at most MOST_LOOKED_AT events and says where the next goes on:
so no question holds the process up, and no answer needs the whole trail in memory.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from vault.crypto.primitives import digest
from vault.errors import Reason, VaultError
from vault.sealed.v1 import sealed_pb2
from vault.service.editions import Editions
from vault.service.following import Follower
from vault.service.reading import (
    SECOND,
    Backwards,
    ReadEvent,
    TrailReader,
    parse_bookmark,
    span,
)

MOST_LOOKED_AT = 10_000
MOST_A_PAGE = 1_000
_MARK = 16  # hexadecimal digits


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events; whatever is empty or None fits all. Times in microseconds since 1970."""

    since: int | None = None
    until: int | None = None
    service: str = ""
    purpose: str = ""
    operation: str = ""
    outcome: int = 0
    reason: str = ""
    fields: frozenset[str] = frozenset()
    request_id: str = ""

    def fits(self, event: ReadEvent, names: Callable[[int], Mapping[int, str]]) -> bool:
        """Tell whether an event is meant, all but its time; `names` are an edition's, by uid."""
        body = event.body
        return (
            (not self.service or self.service == body.service)
            and (not self.purpose or self.purpose == body.purpose)
            and (not self.operation or self.operation == body.operation)
            and (not self.outcome or self.outcome == body.outcome)
            and (not self.reason or self.reason == body.reason)
            and (not self.request_id or self.request_id == body.request_id)
            and (not self.fields or self._names_all(body, names(body.edition)))
        )

    def _names_all(self, body: sealed_pb2.AuditEvent, names: Mapping[int, str]) -> bool:
        return self.fields <= {names.get(use.uid) for use in body.fields}


@dataclass(frozen=True, slots=True)
class Alike:
    """What events are counted together by; `start` in seconds since 1970."""

    start: int
    service: str
    purpose: str
    operation: str
    outcome: sealed_pb2.Outcome.ValueType


@dataclass(frozen=True, slots=True, eq=False)
class Audited:
    """One compartment's trail: read backwards, and followed."""

    reader: TrailReader
    follower: Follower
    editions: Editions
    _names: dict[int, Mapping[int, str]] = field(default_factory=dict)

    def names(self, edition: int) -> Mapping[int, str]:
        """Return the names of the compartment's fields in an edition, by uid."""
        if edition not in self._names:
            found = self.editions.ledger.editions.get(edition)
            here = found.compartments.values() if found else ()
            fields = [c.by_uid for c in here if c.uuid == self.reader.compartment]
            if found is None:
                return {}
            self._names[edition] = {u: f.name for known in fields for u, f in known.items()}
        return self._names[edition]

    def fits(self, wanted: Filter, event: ReadEvent) -> bool:
        """Tell whether a filter means an event, all but its time."""
        return wanted.fits(event, self.names)

    async def page(self, wanted: Filter, most: int, token: str) -> tuple[list[ReadEvent], str]:
        """Return events, the newest first, and the token of the next page ("" at the end).

        Raises VaultError.
        """
        walk = await self._walk(wanted, token, most)
        found: list[ReadEvent] = []
        while len(found) < most and walk.looked_at < MOST_LOOKED_AT:
            if (event := await walk.next()) is None:
                break
            if self.fits(wanted, event):
                found.append(event)
        return found, self._token(wanted, walk)

    async def counts(
        self, wanted: Filter, bucket: int, token: str
    ) -> tuple[Mapping[Alike, int], str]:
        """Count events by `bucket` seconds, and return the token of what is left ("" at the end).

        Raises VaultError.
        """
        walk, counted = await self._walk(wanted, token, MOST_LOOKED_AT), Counter[Alike]()
        while walk.looked_at < MOST_LOOKED_AT and (event := await walk.next()) is not None:
            if self.fits(wanted, event):
                body = event.body
                start = body.at // SECOND // bucket * bucket
                alike = Alike(start, body.service, body.purpose, body.operation, body.outcome)
                counted[alike] += event.stands_for
        return counted, self._token(wanted, walk)

    async def _walk(self, wanted: Filter, token: str, most: int) -> Backwards:
        begun: Mapping[bytes, int] = {}
        within = span(wanted.since, wanted.until)
        if token:
            try:
                if token[:_MARK] != self._mark(wanted):
                    raise ValueError
                until, begun = parse_bookmark(token[_MARK:])
            except ValueError:
                raise VaultError(
                    Reason.MALFORMED_REQUEST,
                    "The page token isn't one of this compartment and filter. Begin anew.",
                    violations={"page_token": "belongs to another question"},
                ) from None
            within = span(wanted.since, until)
        walk = Backwards(self.reader, within, begun, most)
        await walk.start()
        return walk

    def _token(self, wanted: Filter, walk: Backwards) -> str:
        return "" if walk.at_end else self._mark(wanted) + walk.bookmark()

    def _mark(self, wanted: Filter) -> str:
        """Return what tells a question from others; its fields in one order."""
        asked = repr((replace(wanted, fields=frozenset()), sorted(wanted.fields))).encode()
        return digest(b"piivault/v1/audit-page", self.reader.compartment, asked).hex()[:_MARK]


@dataclass(frozen=True, slots=True, eq=False)
class Audits:
    """All trails that this process audits, by the names of their compartments."""

    trails: Mapping[str, Audited]

    def trail(self, name: str) -> Audited:
        """Return one; raise VaultError(UNKNOWN_COMPARTMENT)."""
        found = self.trails.get(name)
        if found is None:
            raise VaultError(
                Reason.UNKNOWN_COMPARTMENT,
                "This auditor reads no trail of that name. Name one compartment of its "
                "configuration.",
                violations={"compartment": "is unknown"},
            )
        return found
