"""The blind index: what is equal finds each other, in one field of one compartment alone.

The table of normal forms is tests/vectors/blind_index_v1.json.
"""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.crypto.blind_index import INDEX_VALUE_BYTES, INDEXABLE_TYPES, index_value, normalise

KEY = bytes(range(32))
COMPARTMENT = b"accounts: 16 byt"

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@pytest.mark.parametrize("type_", sorted(INDEXABLE_TYPES))
@given(value=text | text.map(lambda t: f"{t}@{t}") | st.from_regex(r"\+?[0-9٠-٩ O()-]{6,18}"))
def test_a_normal_form_is_its_own_normal_form(type_: str, value: str) -> None:
    """So it doesn't matter whether a value was normalised before it came here."""
    once = normalise(type_, value)
    assert once is None or normalise(type_, once.decode()) == once


@given(st.from_regex(r"[25-9][0-9]{8}", fullmatch=True), st.data())
def test_digits_count_and_not_what_stands_between_them(digits: str, data: st.DataObject) -> None:
    between = data.draw(st.lists(st.sampled_from(["", " ", "-", "\u00a0"]), min_size=9, max_size=9))
    spaced = "".join(space + digit for space, digit in zip(between, digits, strict=True))
    assert normalise("phone", f"+996{spaced}") == normalise("phone", f"+996{digits}")


def test_an_index_value_differs_with_everything_it_is_made_of() -> None:
    """Key, compartment, field and value: 16 of them, all different."""
    keys, compartments = (KEY, KEY[::-1]), (COMPARTMENT, COMPARTMENT[::-1])
    made = product(keys, compartments, (4, 5), (b"+996555123456", b"+996555123457"))
    found = [index_value(*parts) for parts in made]
    assert len(set(found)) == 16
    assert {len(value) for value in found} == {INDEX_VALUE_BYTES}


def test_no_index_value_depends_on_another_type_of_the_same_spelling() -> None:
    """Types have fields of their own: the field's uid keeps them apart, whatever the spelling."""
    assert normalise("identifier", "a@b.kg") == normalise("email", "a@b.kg")
    assert index_value(KEY, COMPARTMENT, 1, b"a@b.kg") != index_value(
        KEY, COMPARTMENT, 2, b"a@b.kg"
    )
