"""Put: change, supplement or remove values, by a service for a purpose or by the subject.

One record goes this way as several do, whose records share each step and have each their own
decision and event.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import field

from vault.crypto.record import Address
from vault.errors import Reason, VaultError, returned
from vault.frozen import dataclass
from vault.policy import FieldUse, Index, Operation
from vault.service.attempt import Attempt, attempt, attempt_each
from vault.service.call import Call
from vault.service.compartment import ServedCompartment
from vault.service.consents import wholly_covered
from vault.service.frame import refuse_each
from vault.service.opened import OpenedRecord
from vault.service.repeating import request_mark
from vault.service.rewrite import (
    Edit,
    Edited,
    Outcome,
    Rewrite,
    rewrite,
    rewrite_each,
)
from vault.service.values import check_clear, checked
from vault.store.changes import RequestMark

Fields = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be written into one record, and under which request id."""

    call: Call
    whose: str = field(repr=False)  # a pseudonym, or the subject's own capability
    fields: Fields = field(repr=False)
    clear: Sequence[str]
    etag: str = ""


async def put(served: ServedCompartment, purpose: str, asked: Asked) -> str:
    """Write values for a purpose; return the new etag. Raises VaultError."""
    async with attempt(served, asked.call, Operation.PUT, purpose) as attempted:
        (outcome,) = await _put_each(served, purpose, ((attempted, asked),))
        return returned(outcome)


async def put_each(
    served: ServedCompartment, purpose: str, several: Sequence[Asked]
) -> Sequence[Outcome]:
    """Write values into records, no two of them one; return of each what `put` does, or raises."""
    calls = [asked.call for asked in several]
    try:
        async with attempt_each(served, calls, Operation.PUT, purpose) as each:
            return await _put_each(served, purpose, list(zip(each, several, strict=True)))
    except VaultError as e:
        return [e] * len(several)  # what they share failed: nothing can be written, say


async def _put_each(
    served: ServedCompartment, purpose: str, several: Sequence[tuple[Attempt, Asked]]
) -> Sequence[Outcome]:
    granted = [_granted(served, purpose, attempted, asked) for attempted, asked in several]
    able = [its for its in granted if isinstance(its, _Granted)]
    written: dict[_Granted, Outcome] = {}
    if able:
        await served.touch(able[0].asked.call)
        rewrites = [await its.to_rewrite(served, purpose) for its in able]
        written = dict(zip(able, await rewrite_each(served, rewrites), strict=True))
    for its, outcome in written.items():
        if isinstance(outcome, str):
            its.give_back(served)
    outcomes: dict[Attempt, Outcome] = {
        attempted: written[its] if isinstance(its, _Granted) else its
        for (attempted, _), its in zip(several, granted, strict=True)
    }
    refused = [(its, o) for its, o in outcomes.items() if isinstance(o, VaultError)]
    if refused:
        told = await refuse_each(refused)
        outcomes.update(zip((its for its, _ in refused), told, strict=True))
    return list(outcomes.values())


def _granted(
    served: ServedCompartment, purpose: str, attempted: Attempt, asked: Asked
) -> "_Granted | VaultError":
    """Decide on the edition alone, count it against limits, and read what is to be written."""
    call, names = asked.call, [*asked.fields, *asked.clear]
    try:
        uses = attempted.decide(Operation.PUT, purpose, names)
        served.limits.take(call.service, Operation.PUT)
        unique = [use.field.uid for use in uses if use.field.index is Index.UNIQUE]
        if unique:
            # That a value is taken confirms a guess, as Find does: so it counts as one.
            served.limits.take(call.service, Operation.FIND, "change a unique field")
        address = served.address(asked.whose)
        edit = _edit(served, call, asked.fields, asked.clear)
        return _Granted(attempted, asked, uses, unique, address, edit)
    except VaultError as e:
        return e


@dataclass(slots=True, eq=False)
class _Granted:
    """A put that its grant allows, not yet held against what the record says."""

    attempted: Attempt
    asked: Asked
    uses: tuple[FieldUse, ...]
    unique: Collection[int]
    address: Address
    edit: Edit
    displaced: bool = False

    async def to_rewrite(self, served: ServedCompartment, purpose: str) -> Rewrite:
        """Return what is to become of the record, if its subject's word covers it."""
        call, uses = self.asked.call, self.uses

        def edit(record: OpenedRecord) -> Edited:
            wholly_covered(call, served, purpose, uses, record)
            edited = self.edit(record)
            self.displaced = _displaced(record, edited, self.unique)
            return edited

        mark = await _mark(served, self.asked, self.address)
        return Rewrite(self.attempted, self.address, edit, mark, self.asked.etag)

    def give_back(self, served: ServedCompartment) -> None:
        """Count it as no guess where it fills what was empty.

        A record does that once: as guesses they soon run out.
        """
        if self.unique and not self.displaced:
            served.limits.give_back(self.asked.call.service, Operation.FIND)


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


async def put_own(served: ServedCompartment, asked: Asked) -> str:
    """Write the subject's own values (clause 3.1.1); return the new etag. Raises VaultError."""
    call, fields, clear = asked.call, asked.fields, asked.clear
    async with attempt(served, call, "put") as attempted:
        address = served.bearer(asked.whose, call.service.spiffe)
        if not fields and not clear:
            raise VaultError(
                Reason.MALFORMED_REQUEST, "Nothing to change: name fields to set or clear."
            )
        edit = _edit(served, call, fields, clear)
        mark = await _mark(served, asked, address)
        return await rewrite(served, Rewrite(attempted, address, edit, mark, asked.etag))


async def _mark(served: ServedCompartment, asked: Asked, address: Address) -> RequestMark | None:
    content = [dict(asked.fields), list(asked.clear), asked.etag]
    return await request_mark(served, asked.call, Operation.PUT, address, content)


def _edit(served: ServedCompartment, call: Call, fields: Fields, clear: Sequence[str]) -> Edit:
    compartment = call.edition.compartment(served.name)
    if both := sorted(set(fields) & set(clear)):
        raise VaultError(
            Reason.MALFORMED_REQUEST,
            "A field can't be set and cleared at once.",
            violations={f"clear.{name}": "is set in the same request" for name in both},
        )
    given = checked(compartment, fields)
    removed = check_clear(compartment, clear)

    def edit(record: OpenedRecord) -> Edited:
        changed = {*given, *removed}
        kept = [item.uid for item in record.about.fields if item.uid not in changed]
        values = {**record.values(kept), **given}
        return Edited(record.about, values, changed)

    return edit
