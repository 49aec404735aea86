"""What subjects ask for under the law: an id, a day by which it is due, and what became of it.

    async with requested(served, call, RequestKind.EXPORT, address) as request:
        …                                # begun, durably; it stays open if this raises a failure
        await request.finish(transaction)    # in the change that does what was asked; or later:
    await finish(served, id)             # once the subject's side says that the answer came, of
                                         # an export or a report

Erasure, export, report and restriction are such requests. Rectification isn't, nor are consents:
each is done, or refused, before its answer, by the subject's own hand; the trail has the event.

A request is kept without anything that leads to its subject, by the day, sealed under the
audit-data key: it goes on while the compartment is suspended. A repetition under the same request
id is the same request.
"""

import logging
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from vault.crypto.primitives import DamagedError
from vault.crypto.record import Address
from vault.crypto.request import (
    ID_BYTES,
    RequestKind,
    RequestState,
    SubjectRequest,
    key_version,
    open_request,
    request_id,
    seal_request,
)
from vault.errors import Reason, VaultError, damaged
from vault.keys.key import READS, KeyKind, KeyName
from vault.service.attempt import FAILURES, attempt
from vault.service.call import Call
from vault.service.compartment import ServedCompartment
from vault.store.jobs import Transaction
from vault.store.requests import Finish, replace

log = logging.getLogger("piivault.requests")

KEPT_DAYS = 90  # days that a closed request is kept
_PAGE = 500
# Nobody's request: there is nobody, or it says of another request that it is this one.
_NO_REQUEST = frozenset({Reason.NOT_FOUND, Reason.REQUEST_ID_REUSED, Reason.MALFORMED_REQUEST})
_ANSWERED = frozenset({RequestKind.EXPORT, RequestKind.REPORT})  # by an answer that must arrive
_LATER = FAILURES | {Reason.OVERLOADED, Reason.DEADLINE_EXCEEDED, Reason.STALE_ETAG}


@dataclass(frozen=True, slots=True)
class Begun:
    """A request that is on record, as it was read: `finish` is conditional on that."""

    served: ServedCompartment
    request: SubjectRequest
    sealed: bytes = field(repr=False)
    done: bytes = field(repr=False)  # as it is sealed once it is done

    @property
    def id(self) -> bytes:
        """Its id."""
        return self.request.id

    @property
    def is_done(self) -> bool:
        """Whether it was carried out before: this is a repetition."""
        return self.request.state is RequestState.DONE

    async def finish(self, transaction: Transaction) -> None:
        """Say that it is done, in the transaction that does it."""
        if not self.is_done:
            await replace(transaction, self.finishing)

    @property
    def finishing(self) -> Finish:
        """What `finish` does."""
        return Finish(self.id, self.sealed, self.done)

    @property
    def finished(self) -> SubjectRequest:
        """What it is once that transaction stands."""
        if self.is_done:
            return self.request
        return self.request.ended(RequestState.DONE, today())


@asynccontextmanager
async def requested(
    served: ServedCompartment, call: Call, kind: RequestKind, address: Address
) -> AsyncIterator[Begun]:
    """Put a request on record before it is worked on; a refusal closes it, a failure doesn't.

    Raises VaultError.
    """
    begun = await begin(served, call, kind, address)
    try:
        yield begun
    except VaultError as e:
        if e.reason in _NO_REQUEST:
            await served.requests.drop([begun.id])
        elif e.reason not in _LATER:
            await _end(begun, RequestState.REFUSED, e.reason)
        raise


async def begin(
    served: ServedCompartment, call: Call, kind: RequestKind, address: Address
) -> Begun:
    """Put a request on record, durably, and return it; a repetition returns what there is.

    Raises VaultError(KEYS_UNAVAILABLE, STORAGE_UNAVAILABLE).
    """
    newest, *older = await _ids(served, call, kind, address)
    if older and (known := await _known(served, older)):
        return known
    opened = today()
    moment = datetime(opened.year, opened.month, opened.day, tzinfo=UTC)
    due = call.edition.answer_within.end(moment).date()
    request = SubjectRequest(newest, kind, RequestState.OPEN, opened, due)
    sealed = await _seal(served, request)
    while not await served.requests.add(newest, sealed):
        if known := await _known(served, [newest]):
            return known
    return await _begun(served, request, sealed)


async def finish(
    served: ServedCompartment, call: Call, capability: str, id_: bytes
) -> SubjectRequest:
    """Close a request whose answer came, which the trail has first; return it. Raises VaultError.

    What isn't done by an answer, as an erasure, is closed by the change that does it alone.
    """
    async with attempt(served, call, "finish_request") as attempted:
        served.bearer(capability, call.service.spiffe)
        begun = await _found(served, id_)
        is_open = begun.request.state is RequestState.OPEN
        if is_open and begun.request.kind not in _ANSWERED:
            raise VaultError(
                Reason.MALFORMED_REQUEST,
                "This request isn't carried out yet, and no answer closes it. Repeat it.",
                violations={"id": "is of an open erasure or restriction"},
            )
        await attempted.allow()
        return await _end(begun, RequestState.DONE) if is_open else begun.request


async def request_of(served: ServedCompartment, id_: bytes) -> SubjectRequest:
    """Return a request. Raises VaultError(NOT_FOUND, DAMAGED, …)."""
    return (await _found(served, id_)).request


async def all_requests(
    served: ServedCompartment, *, closed: bool = False
) -> Sequence[SubjectRequest]:
    """Return all open requests, and closed ones if they are wanted, the first due in front.

    Raises VaultError. A damaged one is passed over, and logged.
    """
    found: list[SubjectRequest] = []
    after = b""
    while page := await served.requests.page(after, _PAGE):
        for id_, sealed in page:
            try:
                request = await _open(served, id_, sealed)
            except VaultError as e:
                if e.reason is not Reason.DAMAGED:
                    raise
                log.error("a subject's request in %s can't be opened", served.name)
                continue
            if closed or request.state is RequestState.OPEN:
                found.append(request)
        after = page[-1][0]
    return sorted(found, key=lambda r: (r.due, r.id))


async def look_over(served: ServedCompartment) -> int:
    """Delete what was closed long ago; return how many are overdue. Raises VaultError."""
    now = today()
    before = now - timedelta(days=KEPT_DAYS)
    known = await all_requests(served, closed=True)
    if old := [r.id for r in known if r.closed and r.closed < before]:
        await served.requests.drop(old)
    return sum(r.is_overdue(now) for r in known)


def today() -> date:
    """Return the day, by UTC."""
    return datetime.now(UTC).date()


async def _ids(
    served: ServedCompartment, call: Call, kind: RequestKind, address: Address
) -> Sequence[bytes]:
    """Return under which ids a repetition of this request may be on record, the newest first.

    One for each audit-data key: the trail's key may have been rotated since.
    """
    if not call.repeatable:
        return [secrets.token_bytes(ID_BYTES)]
    asked = (bytes((kind,)), call.service.name.encode(), call.request_id.encode())
    versions = served.keyring.versions(KeyKind.AUDIT)
    readable = [row.name for row in reversed(versions) if row.state in READS]
    keys = [await served.keyring.get(name) for name in readable]
    return [request_id(key, address.pseudonym, *asked) for key in keys]


async def _known(served: ServedCompartment, ids: Sequence[bytes]) -> Begun | None:
    for id_, sealed in await served.requests.find(ids):
        return await _begun(served, await _open(served, id_, sealed), sealed)
    return None


async def _found(served: ServedCompartment, id_: bytes) -> Begun:
    if found := await _known(served, [id_]):
        return found
    raise VaultError(Reason.NOT_FOUND, f"There is no such request in {served.name}, or no more.")


async def _begun(served: ServedCompartment, request: SubjectRequest, sealed: bytes) -> Begun:
    done = await _seal(served, request.ended(RequestState.DONE, today()))
    return Begun(served, request, sealed, done)


async def _end(begun: Begun, state: RequestState, reason: str = "") -> SubjectRequest:
    ended = begun.request.ended(state, today(), reason)
    sealed = await _seal(begun.served, ended)
    if await begun.served.requests.replace(Finish(begun.id, begun.sealed, sealed)):
        return ended
    return await request_of(begun.served, begun.id)  # another process was first


async def _seal(served: ServedCompartment, request: SubjectRequest) -> bytes:
    key, version = await served.audit_key()
    return seal_request(key, version, served.uuid, request)


async def _open(served: ServedCompartment, id_: bytes, sealed: bytes) -> SubjectRequest:
    try:
        key = await served.keyring.get(KeyName(KeyKind.AUDIT, key_version(sealed)))
        return open_request(key, served.uuid, id_, sealed)
    except DamagedError:
        raise damaged("A request") from None
