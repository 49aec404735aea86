"""Values don't show themselves, and mappings say what is held."""

import copy
import json
import logging
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from piivault import Form, Notice, Revealed, RevealedItem, RootId, Secret, new_root
from piivault.errors import Erased

PLANTED = "planted-value"


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        lambda secret: f"{secret}",
        lambda secret: f"{secret:>20}",
        lambda secret: f"{secret!r}",
        lambda secret: "%s %r" % (secret, secret),  # noqa: UP031 - as old logging code does
        lambda secret: str([secret]),
        lambda secret: str({"phone": secret}),
        lambda secret: logging.LogRecord("x", 20, "", 1, "%s", (secret,), None).getMessage(),
    ],
    ids=["repr", "str", "f", "f-width", "f-repr", "percent", "list", "dict", "log"],
)
def test_a_secret_is_never_shown(show: Callable[[Secret], str]) -> None:
    shown = show(Secret(PLANTED))
    assert PLANTED not in shown
    assert "Secret(…)" in shown


@pytest.mark.parametrize("store", [pickle.dumps, copy.copy, copy.deepcopy, json.dumps, hash])
def test_a_secret_is_never_stored(store: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError) as error:
        store(Secret(PLANTED))
    assert PLANTED not in str(error.value)


def test_secrets_compare_by_value_and_only_with_each_other() -> None:
    assert Secret("Айгүл") == Secret("Айгүл")
    assert Secret("Айгүл") != Secret("Гүлай")
    assert Secret("Айгүл") != "Айгүл"


def test_a_secret_has_no_dictionary_for_debuggers_to_print() -> None:
    assert not hasattr(Secret(PLANTED), "__dict__")


def test_a_root_id_is_drawn_at_random_and_read_back() -> None:
    root = new_root()
    assert RootId.parse(root.expose()) == root
    assert new_root() != root
    assert root.expose() not in f"{root} {root!r}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "root_",
        "A" * 22,
        "root_" + "A" * 21,
        "root_" + "A" * 23,
        "root_" + "A" * 21 + "B",  # stray bits
        "root_" + "A" * 21 + "é",
        "root_" + "A" * 21 + "+",
        "psn_" + "A" * 22,
    ],
)
def test_a_root_id_has_one_spelling(text: str) -> None:
    with pytest.raises(ValueError, match="root_ and 22 characters"):
        RootId.parse(text)


@pytest.mark.parametrize("raw", [b"", bytes(15), bytes(17), "A" * 16])
def test_a_root_id_is_16_bytes(raw: Any) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        RootId(raw)


def revealed() -> Revealed:
    return Revealed(
        values_held={"phone": Secret(PLANTED)},
        held=frozenset({"phone", "email"}),
        forms={"phone": Form.PLAIN, "email": Form.PRESENT, "city": Form.MASKED},
        etag="e1",
        edition=3,
    )


def test_a_revealed_record_maps_the_values_that_it_shows() -> None:
    got = revealed()
    assert dict(got) == {"phone": Secret(PLANTED)}
    assert got.get("city") is None
    assert "city" not in got


def test_a_revealed_record_tells_presence_of_what_was_asked() -> None:
    got = revealed()
    assert [got.present(name) for name in ("phone", "email", "city")] == [True, True, False]


@pytest.mark.parametrize(
    ("name", "says"),
    [("city", "holds no city"), ("email", "use present"), ("address", "wasn't asked for")],
)
def test_a_missing_value_says_why_it_is_missing(name: str, says: str) -> None:
    with pytest.raises(KeyError, match=says):
        revealed()[name]


def test_a_revealed_record_shows_names_alone() -> None:
    assert repr(revealed()) == "Revealed(phone, email, city)"


def test_an_item_of_a_batch_is_unwrapped_or_raises_its_error() -> None:
    good = RevealedItem("psn_planted", revealed(), None)
    assert good["phone"] == good.unwrap()["phone"]
    bad = RevealedItem("psn_planted", None, Erased("gone", reason="ERASED"))
    with pytest.raises(Erased):
        bad["phone"]
    assert repr(good) == "RevealedItem(psn_…, Revealed(phone, email, city))"
    assert repr(bad) == "RevealedItem(psn_…, ERASED)"


def test_a_notice_is_accepted_as_it_was_shown() -> None:
    notice = Notice("services", 3, "ky", "Максаты: …", b"digest", consent_needed=True)
    consent = notice.accept()
    assert (consent.purpose, consent.edition, consent.language) == ("services", 3, "ky")
    assert consent.notice_digest == b"digest"


def test_a_notice_that_asks_nothing_is_not_accepted() -> None:
    notice = Notice("security", 3, "ky", "…", b"digest", consent_needed=False)
    with pytest.raises(ValueError, match="asks for no consent"):
        notice.accept()
