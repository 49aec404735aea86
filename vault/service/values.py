"""Values on their way in: their form, their size, and their rows in the blind index.

Clause 1.3: a value is kept as it was given. Only its form is checked, where its type has one.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from vault.crypto import blind_index
from vault.crypto.record import Value
from vault.errors import Reason, VaultError, returned
from vault.keys.key import KeyName
from vault.policy import Compartment, Edition, Field, Index, check_value
from vault.service.compartment import ServedCompartment, now
from vault.store.changes import IndexRow

MOST_A_VALUE = 64 * 1024  # bytes of UTF-8
MOST_A_RECORD = 1024 * 1024  # bytes of UTF-8, all values together
# Characters of what may be indexed, since normalising takes time by their square: the longest
# e-mail address, 64 and 255 about its @ (RFC 5321, 4.5.3.1).
MOST_COMPARED = 320
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
    if len(value) > MOST_COMPARED and field.type.value in blind_index.INDEXABLE_TYPES:
        return f"is longer than {MOST_COMPARED} characters"
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
    Raises VaultError, as `index_row` does.
    """
    (rows,) = await index_rows_each(served, ((edition, values),))
    return returned(rows)


async def index_rows_each(
    served: ServedCompartment, each: Sequence[tuple[Edition, Iterable[Value]]]
) -> Sequence[Sequence[IndexRow] | VaultError]:
    """Return for each record's values what `index_rows` returns of one's, or raises.

    It goes field by field: values of one kind, one after another, are normalised in half the time.
    """
    by_field: dict[tuple[int, int], list[tuple[int, str]]] = {}
    for place, (edition, values) in enumerate(each):
        for value in values:
            by_field.setdefault((edition.number, value.uid), []).append((place, value.value))
    rows: list[list[IndexRow]] = [[] for _ in each]
    refused: dict[int, VaultError] = {}
    for (_, uid), its in by_field.items():
        edition, _ = each[its[0][0]]
        field = edition.compartment(served.name).by_uid[uid]
        if field.index is None:
            continue
        try:
            names = await served.index_names(uid)
            keys = [(name.version, await served.key_in_use(name)) for name in names]
        except VaultError as e:
            refused.update(dict.fromkeys((place for place, _ in its), e))
            continue
        for place, given in its:
            rows[place] += _rows(served, edition, field, given, keys)
    return [refused.get(place, its) for place, its in enumerate(rows)]


def _rows(
    served: ServedCompartment,
    edition: Edition,
    field: Field,
    value: str,
    keys: Iterable[tuple[int, bytes]],
) -> Iterator[IndexRow]:
    """Yield a value's rows, one for each version of the index key; none if it isn't valid."""
    normalised = blind_index.normalise(field.type.value, value, edition.region)
    if normalised is not None:
        for version, key in keys:
            found = blind_index.index_value(key, served.uuid, field.uid, normalised)
            yield IndexRow(field.name, field.uid, version, found, field.index is Index.UNIQUE)


async def index_row(
    served: ServedCompartment, edition: Edition, field: Field, value: str, name: KeyName
) -> IndexRow | None:
    """Return the row of a value under one version of the index key; None if it isn't valid.

    Raises KeysChangedError if the version was the one to use, and is destroyed by now.
    """
    keys = [(name.version, await served.key_in_use(name))]
    return next(_rows(served, edition, field, value, keys), None)
