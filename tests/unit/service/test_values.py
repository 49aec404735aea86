"""Index rows of several records: of each what it would have alone, and one's trouble is its own."""

from collections.abc import Sequence
from typing import cast

import pytest

from tests.house import POLICY
from vault.crypto.blind_index import index_value, normalise
from vault.crypto.record import Value
from vault.errors import Reason, VaultError
from vault.keys.key import KeyKind, KeyName
from vault.policy import compile_edition
from vault.service.compartment import ServedCompartment
from vault.service.values import MOST_COMPARED, checked, index_rows_each
from vault.store.changes import IndexRow

EDITION = compile_edition(POLICY.read_text(encoding="utf-8"))
UUID = b"c" * 16
FIELDS = EDITION.compartment("accounts").fields
NAME, EMAIL, PHONE = (FIELDS[name].uid for name in ("first_name", "email", "phone"))
MAIL, NUMBER = "aigul@example.kg", "+996 555 123456"


class Compartment:
    """Its index keys, by field: of the email's index one is being built. Others can't be had."""

    name, uuid = "accounts", UUID

    def __init__(self, *unavailable: int) -> None:
        self.unavailable = unavailable

    async def index_names(self, uid: int) -> Sequence[KeyName]:
        if uid in self.unavailable:
            raise VaultError(Reason.KEYS_UNAVAILABLE, "The index of this field is being built.")
        versions = (1, 2) if uid == EMAIL else (1,)
        return [KeyName(KeyKind.INDEX, version, uid) for version in versions]

    async def key_in_use(self, name: KeyName) -> bytes:
        return _key(name.field, name.version)


def _key(uid: int, version: int) -> bytes:
    return bytes((uid, version)) * 16


def _row(uid: int, version: int, value: str) -> IndexRow:
    field = EDITION.compartment("accounts").by_uid[uid]
    normalised = normalise(field.type.value, value, EDITION.region)
    assert normalised is not None
    found = index_value(_key(uid, version), UUID, uid, normalised)
    return IndexRow(field.name, uid, version, found, uid == EMAIL)


async def _of(
    compartment: Compartment, *records: dict[int, str]
) -> Sequence[Sequence[IndexRow] | VaultError]:
    types = EDITION.compartment("accounts").by_uid
    values = [[Value(uid, types[uid].type.value, v, 0) for uid, v in r.items()] for r in records]
    served = cast(ServedCompartment, compartment)
    return await index_rows_each(served, [(EDITION, its) for its in values])


async def test_each_record_has_the_rows_of_its_own_values() -> None:
    both, one, none, invalid = await _of(
        Compartment(),
        {NAME: "Айгүл", EMAIL: MAIL, PHONE: NUMBER},
        {PHONE: "0555 654321"},
        {NAME: "Бакыт"},
        {PHONE: "12"},
    )
    assert both == [_row(EMAIL, 1, MAIL), _row(EMAIL, 2, MAIL), _row(PHONE, 1, NUMBER)]
    assert one == [_row(PHONE, 1, "+996555654321")]
    assert none == invalid == []


async def test_a_field_whose_index_cannot_be_written_refuses_those_that_have_it() -> None:
    mail, both, phone, none = await _of(
        Compartment(EMAIL), {EMAIL: MAIL}, {PHONE: NUMBER, EMAIL: MAIL}, {PHONE: NUMBER}, {}
    )
    for refused in (mail, both):
        assert isinstance(refused, VaultError)
        assert refused.reason is Reason.KEYS_UNAVAILABLE
    assert (phone, none) == ([_row(PHONE, 1, NUMBER)], [])


@pytest.mark.parametrize("name", ["email", "phone"])
def test_what_may_be_indexed_is_bounded(name: str) -> None:
    """Marks upon a letter are sorted when it is normalised, in time by their number's square."""
    least = {"email": "a@b", "phone": "1"}[name]
    longest = least.rjust(MOST_COMPARED, least[0])
    accounts = EDITION.compartment("accounts")
    assert [its.value for its in checked(accounts, {name: longest}).values()] == [longest]
    with pytest.raises(VaultError, match="longer than 320 characters"):
        checked(accounts, {name: least[0] + longest})


def test_what_is_not_may_be_long() -> None:
    accounts = EDITION.compartment("accounts")
    assert checked(accounts, {"first_name": "А" * 1000})
