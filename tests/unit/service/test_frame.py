"""The frame of a use case: whatever ends it, each attempt leaves what says so."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from vault.errors import Reason, VaultError
from vault.service.frame import Frame
from vault.service.places import Places

REFUSAL = VaultError(Reason.STORAGE_UNAVAILABLE, "The database can't be asked.")


class Attempted:
    """An attempt as its frame sees it."""

    def __init__(self) -> None:
        self.ended = ""

    async def refuse(self, error: VaultError) -> None:
        self.ended = self.ended or error.reason

    def count(self, error: VaultError) -> None:
        self.ended = f"counted {error.reason}"

    def leave(self) -> None:
        self.ended = self.ended or "left"


def framed(each: list[Attempted], places: Places) -> Frame[list[Attempted]]:
    service: Any = SimpleNamespace(name="orders", subject_facing=False)
    return Frame(each, each, places.take(service, len(each)))


@pytest.mark.parametrize("count", [1, 3])
async def test_what_is_raised_is_recorded_for_each(count: int) -> None:
    each, places = [Attempted() for _ in range(count)], Places(100)
    with pytest.raises(VaultError):
        async with framed(each, places):
            raise REFUSAL
    assert [its.ended for its in each] == [Reason.STORAGE_UNAVAILABLE] * count
    assert places._taken == 0


@pytest.mark.parametrize("count", [1, 3])
async def test_who_leaves_as_it_is_refused_leaves_that(count: int) -> None:
    """Cancelled in the very turn of the loop in which refusals are to begin."""
    each, places = [Attempted() for _ in range(count)], Places(100)

    async def refused() -> None:
        async with framed(each, places):
            task = asyncio.current_task()
            assert task is not None
            asyncio.get_running_loop().call_soon(task.cancel)
            raise REFUSAL

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(refused())
    assert all(its.ended for its in each)
    assert places._taken == 0


async def test_where_there_is_no_room_each_is_counted() -> None:
    each = [Attempted() for _ in range(3)]
    with pytest.raises(VaultError) as refused:
        async with framed(each, Places(2)):
            raise AssertionError("there is no room")
    assert refused.value.reason is Reason.OVERLOADED
    assert [its.ended for its in each] == [f"counted {Reason.OVERLOADED}"] * 3
