"""Put: change, supplement or remove values, by a service for a purpose or by the subject."""

from collections.abc import Mapping, Sequence

from vault.crypto.record import Address
from vault.errors import Reason, VaultError
from vault.policy import Index, Operation
from vault.service.attempt import Attempt, attempt
from vault.service.call import Call
from vault.service.compartment import OpenedRecord, ServedCompartment
from vault.service.consents import wholly_covered
from vault.service.rewrite import Edit, Edited, request_mark, rewrite
from vault.service.values import check_clear, checked, index_rows

Fields = Mapping[str, str]


async def put(
    served: ServedCompartment,
    call: Call,
    purpose: str,
    pseudonym: str,
    fields: Fields,
    clear: Sequence[str],
    etag: str,
) -> str:
    """Write values for a purpose; return the new etag. Raises VaultError."""
    async with attempt(served, call, Operation.PUT, purpose) as attempted:
        uses = await attempted.admit(Operation.PUT, purpose, [*fields, *clear])
        if any(use.field.index is Index.UNIQUE and use.field.name in fields for use in uses):
            # That a value is taken confirms a guess, as Find does: so it counts as one.
            served.limits.take(call.service, Operation.FIND, "set a unique field")
        address = served.address(pseudonym)
        write = _writing(served, call, fields, clear)

        async def edit(record: OpenedRecord) -> Edited:
            wholly_covered(call, served, purpose, uses, record)
            return await write(record)

        return await _carry_out(served, call, attempted, address, edit, fields, clear, etag)


async def put_own(
    served: ServedCompartment,
    call: Call,
    capability: str,
    fields: Fields,
    clear: Sequence[str],
    etag: str,
) -> str:
    """Write the subject's own values (clause 3.1.1); return the new etag. Raises VaultError."""
    async with attempt(served, call, "put") as attempted:
        address = served.bearer(capability, call.service.spiffe)
        if not fields and not clear:
            raise VaultError(
                Reason.MALFORMED_REQUEST, "Nothing to change: name fields to set or clear."
            )
        edit = _writing(served, call, fields, clear)
        return await _carry_out(served, call, attempted, address, edit, fields, clear, etag)


async def _carry_out(
    served: ServedCompartment,
    call: Call,
    attempted: Attempt,
    address: Address,
    edit: Edit,
    fields: Fields,
    clear: Sequence[str],
    etag: str,
) -> str:
    asked = [dict(fields), list(clear), etag]
    mark = await request_mark(served, call, Operation.PUT, address, asked)
    return await rewrite(served, attempted, address, edit, mark, etag)


def _writing(served: ServedCompartment, call: Call, fields: Fields, clear: Sequence[str]) -> Edit:
    compartment = call.edition.compartment(served.name)
    if both := sorted(set(fields) & set(clear)):
        raise VaultError(
            Reason.MALFORMED_REQUEST,
            "A field can't be set and cleared at once.",
            violations={f"clear.{name}": "is set in the same request" for name in both},
        )
    given = checked(compartment, fields)
    removed = check_clear(compartment, clear)

    async def edit(record: OpenedRecord) -> Edited:
        values = {**record.values(), **given}
        for uid in removed:
            values.pop(uid, None)
        rows = await index_rows(served, call.edition, given.values())
        return Edited(record.about, values, [*given, *removed], rows)

    return edit
