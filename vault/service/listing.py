"""Lists: whose records a purpose may use, page by page.

What a page tells, a Reveal of each would tell. Where the next one begins is sealed: it may be after
a record that the caller must not know of.

Records are looked at many at once: a list finds a place for each before it begins, as a batch does.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from vault.crypto.primitives import DamagedError, decrypt, encrypt
from vault.errors import Reason, VaultError
from vault.names import Pseudonym, from_base64url, to_base64url
from vault.policy import FieldUse, Operation
from vault.service.attempt import attempt
from vault.service.call import Call
from vault.service.compartment import ServedCompartment
from vault.service.visible import visible

MOST_A_PAGE = 200
_A_PAGE = 100
_MOST_LOOKED_AT = 1000  # records a page: a call ends, however few of them are covered
_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Page:
    """Some pseudonyms, and where the next page begins: "" if there is none."""

    pseudonyms: Sequence[Pseudonym] = field(repr=False)
    next_token: str


async def list_records(
    served: ServedCompartment,
    call: Call,
    purpose: str,
    names: Sequence[str],
    size: int,
    token: str,
) -> Page:
    """Return a page of whose records' fields the caller may have revealed. Raises VaultError."""
    others = _at_once(served) - 1  # one place is the attempt's own
    with served.places.take(call.service, others):
        async with attempt(served, call, Operation.LIST, purpose) as attempted:
            uses = await attempted.admit(Operation.LIST, purpose, names)
            if size > MOST_A_PAGE:
                raise VaultError(
                    Reason.MALFORMED_REQUEST,
                    f"A page has at most {MOST_A_PAGE} pseudonyms.",
                    violations={"page_size": f"must be 0 to {MOST_A_PAGE}"},
                )
            # A key of its own for each list: a token is good for no other.
            own = (call.service.name, purpose, *(str(use.field.uid) for use in uses))
            key = await served.mark(b"page", *(part.encode() for part in own))
            after = _opened(key, token) if token else b""
            found, end = await _page(served, call, purpose, uses, after, size or _A_PAGE)
            await attempted.allow()
    served.keyring.check_serving()  # as for a value: writing the event may have taken long
    return Page([Pseudonym(raw) for raw in found], _sealed(key, end) if end else "")


def _at_once(served: ServedCompartment) -> int:
    """Return how many records are looked at together: no more than one service may."""
    return min(_AT_ONCE, served.places.share)


async def _page(
    served: ServedCompartment,
    call: Call,
    purpose: str,
    uses: tuple[FieldUse, ...],
    after: bytes,
    size: int,
) -> tuple[list[bytes], bytes]:
    """Return pseudonyms that come after one, and after which the next page begins, if any does."""
    found: list[bytes] = []
    at_once = _at_once(served)
    for _ in range(_MOST_LOOKED_AT // at_once):
        upcoming = await served.lookups.page(after, at_once)
        records = await visible(served, call, purpose, uses, upcoming)
        found += [record.address.pseudonym for record in records[: size - len(found)]]
        if len(found) == size:
            return found, found[-1]
        if len(upcoming) < at_once:
            return found, b""
        after = upcoming[-1]
    return found, after


def _sealed(key: bytes, after: bytes) -> str:
    return to_base64url(encrypt(key, after, b""))


def _opened(key: bytes, token: str) -> bytes:
    try:
        return decrypt(key, from_base64url(token), b"")
    except (DamagedError, ValueError):
        raise VaultError(
            Reason.MALFORMED_REQUEST,
            "The page token isn't one of this list: its caller, purpose and fields. Begin anew.",
            violations={"page_token": "is of no page of this list"},
        ) from None
