"""Put: change, supplement or remove values, by a service for a purpose or by the subject."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from vault.crypto.record import Address
from vault.errors import Reason, VaultError
from vault.policy import Index, Operation
from vault.service.attempt import Attempt, attempt
from vault.service.call import Call
from vault.service.compartment import ServedCompartment
from vault.service.consents import wholly_covered
from vault.service.opened import OpenedRecord
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
        unique = [use.field.uid for use in uses if use.field.index is Index.UNIQUE]
        if unique:
            # That a value is taken confirms a guess, as Find does: so it counts as one.
            served.limits.take(call.service, Operation.FIND, "change a unique field")
        address = served.address(pseudonym)
        write = _writing(served, call, fields, clear)
        displaced = False

        async def edit(record: OpenedRecord) -> Edited:
            nonlocal displaced
            wholly_covered(call, served, purpose, uses, record)
            edited = await write(record)
            displaced = _displaced(record, edited, unique)
            return edited

        done = await _carry_out(served, call, attempted, address, edit, fields, clear, etag)
        if unique and not displaced:
            # It fills what was empty, which a record does once: as guesses they soon run out.
            served.limits.give_back(call.service, Operation.FIND)
        return done


def touches_unique(served: ServedCompartment, call: Call, names: Iterable[str]) -> bool:
    """Tell whether a put of these fields counts as a find, if it isn't refused before."""
    fields = call.edition.compartment(served.name).fields
    return any(n in fields and fields[n].index is Index.UNIQUE for n in names)


def _displaced(record: OpenedRecord, edited: Edited, unique: Collection[int]) -> bool:
    """Tell whether a record loses a value that it holds of some unique field.

    If so the put costs no record that is still empty: it could be repeated for ever, as a guess.
    """
    held = record.values(unique) if unique else {}
    return any(
        uid not in edited.values or edited.values[uid].value != value.value
        for uid, value in held.items()
    )


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
        changed = {*given, *removed}
        kept = [item.uid for item in record.about.fields if item.uid not in changed]
        values = {**record.values(kept), **given}
        rows = await index_rows(served, call.edition, given.values())
        return Edited(record.about, values, changed, rows)

    return edit
