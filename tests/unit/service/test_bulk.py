"""Bulk put: which items of a message are done at once."""

import pytest

from vault.errors import Reason, VaultError
from vault.service.bulk import PutItem, together
from vault.service.streaming import WINDOW

BAD = VaultError(Reason.MALFORMED_REQUEST, "An item that can't be read.")


def _item(pseudonym: str, size: int = 0) -> PutItem:
    return PutItem("", pseudonym, {"city": "x" * size}, [])


MESSAGES: dict[str, tuple[list[PutItem | VaultError], list[int]]] = {
    # what came, and how many of it at a time
    "a few": ([_item("a"), _item("b")], [2]),
    "one of a record after another": ([_item("a"), _item("b"), _item("a"), _item("c")], [2, 2]),
    "of one record alone": ([_item("a")] * 3, [1, 1, 1]),
    "as many as go at once": ([_item(str(n)) for n in range(2 * WINDOW + 1)], [WINDOW, WINDOW, 1]),
    "unreadable ones, which are of no record": ([BAD, _item("a"), BAD, BAD], [4]),
    "as much text as goes at once": ([_item(str(n), 4_000) for n in range(5)], [2, 2, 1]),
    "one that has more, alone": ([_item("a"), _item("b", 20_000), _item("c")], [1, 1, 1]),
}


@pytest.mark.parametrize(("items", "sizes"), MESSAGES.values(), ids=MESSAGES)
def test_items_go_together_in_their_order(
    monkeypatch: pytest.MonkeyPatch, items: list[PutItem | VaultError], sizes: list[int]
) -> None:
    monkeypatch.setattr("vault.service.bulk.MOST_TEXT", 11_000)
    several = list(together(iter(items)))
    assert [item for those in several for item in those] == items
    assert [len(those) for those in several] == sizes
