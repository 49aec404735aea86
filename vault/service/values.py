"""Values on their way in: their form, their size, and their rows in the blind index.

Clause 1.3: a value is kept as it was given. Only its form is checked, where its type has one.
"""

from collections.abc import Iterable, Mapping, Sequence

from vault.crypto import blind_index
from vault.crypto.record import Value
from vault.errors import Reason, VaultError
from vault.keys.key import KeyName
from vault.policy import Compartment, Edition, Field, Index, check_value
from vault.service.compartment import ServedCompartment, now
from vault.store.changes import IndexRow

MOST_A_VALUE = 64 * 1024  # bytes of UTF-8
MOST_A_RECORD = 1024 * 1024  # bytes of UTF-8, all values together
_TOO_LARGE = "is larger than 64 KiB"


def checked(compartment: Compartment, given: Mapping[str, str]) -> dict[int, Value]:
    """Return the values by field uid, or raise VaultError naming every fault.

    Raises UNKNOWN_FIELD, TOO_LARGE, INVALID_VALUE.
    """
    at = now()
    fields = {name: compartment.field(name) for name in given}
    faults = {f"fields.{n}": f for n, v in given.items() if (f := _fault(fields[n], v))}
    if faults:
        too_large = _TOO_LARGE in faults.values()
        listed = "; ".join(
            f"{path.removeprefix('fields.')} {fault}" for path, fault in faults.items()
        )
        raise VaultError(
            Reason.TOO_LARGE if too_large else Reason.INVALID_VALUE,
            f"Values can't be kept: {listed}.",
            violations=faults,
        )
    return {f.uid: Value(f.uid, f.type.value, given[name], at) for name, f in fields.items()}


def _fault(field: Field, value: str) -> str | None:
    if len(value.encode()) > MOST_A_VALUE:
        return _TOO_LARGE
    return check_value(field, value)


def check_record_size(values: Iterable[Value]) -> None:
    """Raise VaultError(TOO_LARGE) if a record would hold more than 1 MiB."""
    if sum(len(value.value.encode()) for value in values) > MOST_A_RECORD:
        raise VaultError(Reason.TOO_LARGE, "The record would be larger than 1 MiB.")


def check_clear(compartment: Compartment, names: Iterable[str]) -> list[int]:
    """Return the uids of fields to remove; raise VaultError if one is unknown or required."""
    fields = [compartment.field(name) for name in names]
    required = {f"clear.{f.name}": "is required" for f in fields if not f.voluntary}
    if required:
        raise VaultError(
            Reason.INVALID_VALUE,
            "Only voluntary fields can be removed; erase the record to remove all.",
            violations=required,
        )
    return [f.uid for f in fields]


async def index_rows(
    served: ServedCompartment, edition: Edition, values: Iterable[Value]
) -> Sequence[IndexRow]:
    """Return the index rows of values in indexed fields; what isn't valid has none.

    While an index is being built anew, each value has a row in the old one and one in the new one.
    """
    rows: list[IndexRow] = []
    compartment = edition.compartment(served.name)
    for value in values:
        field = compartment.by_uid[value.uid]
        if field.index is not None:
            for name in await served.index_names(field.uid):
                rows += await index_row(served, edition, field, value.value, name)
    return rows


async def index_row(
    served: ServedCompartment, edition: Edition, field: Field, value: str, name: KeyName
) -> Sequence[IndexRow]:
    """Return the row of a value under one version of the index key; none if it isn't valid."""
    found = await index_value(served, edition, field, value, name)
    if found is None:
        return ()
    return (IndexRow(field.name, field.uid, name.version, found, field.index is Index.UNIQUE),)


async def index_value(
    served: ServedCompartment, edition: Edition, field: Field, value: str, name: KeyName
) -> bytes | None:
    """Return what stands for a value in the index, or None if it isn't indexed.

    Raises KeysChangedError if the version was the one to use, and is destroyed by now.
    """
    normalised = blind_index.normalise(field.type.value, value, edition.region)
    if normalised is None:
        return None
    key = await served.key_in_use(name)
    return blind_index.index_value(key, served.uuid, field.uid, normalised)
