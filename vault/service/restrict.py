"""Restriction: the subject stops the use of their record, and it stays stored (clause 5.1)."""

from vault.crypto.request import RequestKind, SubjectRequest
from vault.service.attempt import attempt
from vault.service.call import Call
from vault.service.compartment import ServedCompartment
from vault.service.opened import OpenedRecord
from vault.service.repeating import request_mark
from vault.service.requests import requested
from vault.service.rewrite import Edit, Edited, Rewrite, rewrite


async def restrict(
    served: ServedCompartment, call: Call, capability: str
) -> tuple[str, SubjectRequest]:
    """Restrict processing; return the new etag, and the request. Raises VaultError.

    No reveal that begins after the answer sees a value, but for a purpose that the law demands.
    """
    async with attempt(served, call, "restrict") as attempted:
        address = served.bearer(capability, call.service.spiffe)
        async with requested(served, call, RequestKind.RESTRICTION, address) as request:
            mark = await request_mark(served, call, "restrict", address, None)
            edit = _setting(restricted=True)
            its = Rewrite(attempted, address, edit, mark, also=request.finish)
            etag = await rewrite(served, its)
        return etag, request.finished


async def lift_restriction(served: ServedCompartment, call: Call, capability: str) -> str:
    """Lift the restriction; return the new etag. Raises VaultError."""
    async with attempt(served, call, "lift_restriction") as attempted:
        address = served.bearer(capability, call.service.spiffe)
        mark = await request_mark(served, call, "lift_restriction", address, None)
        its = Rewrite(attempted, address, _setting(restricted=False), mark)
        return await rewrite(served, its)


def _setting(*, restricted: bool) -> Edit:
    def edit(record: OpenedRecord) -> Edited:
        about = record.copied_about()
        about.restricted = restricted
        return Edited(about, record.values())

    return edit
