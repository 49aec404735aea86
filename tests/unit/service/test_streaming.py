"""In order: several at once, answered as they were asked; and what becomes of the rest."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from vault.service.streaming import in_order


async def _numbers(count: int, then: Exception | None = None) -> AsyncIterator[int]:
    for number in range(count):
        yield number
    if then is not None:
        raise then


class Serving:
    """Serves numbers, the later ones sooner, and knows how many at once."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.at_once = self.most = 0
        self.cancelled: list[int] = []

    async def __call__(self, number: int) -> int:
        self.begun.append(number)
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            await asyncio.sleep(0.01 / (number + 1))
        except asyncio.CancelledError:
            self.cancelled.append(number)
            raise
        finally:
            self.at_once -= 1
        if number == 13:
            raise KeyError(number)
        return number


async def test_results_come_in_the_order_of_the_items_so_many_at_once() -> None:
    serving = Serving()
    assert [n async for n in in_order(_numbers(12), serving, 5)] == list(range(12))
    assert serving.most == 5


async def test_nothing_is_taken_in_beyond_the_window_while_nobody_takes_results() -> None:
    serving = Serving()
    async with aclosing(in_order(_numbers(12), serving, 5)) as results:
        assert await anext(results) == 0
        await asyncio.sleep(0.05)
        assert serving.begun == [0, 1, 2, 3, 4]  # the first one's room is free once it was taken
        assert await anext(results) == 1
        await asyncio.sleep(0.05)
        assert serving.begun == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("count", [0, 1, 3])
async def test_what_the_items_raise_comes_after_the_results_before(count: int) -> None:
    results = in_order(_numbers(count, ValueError("broken")), Serving(), 2)
    assert [await anext(results) for _ in range(count)] == list(range(count))
    with pytest.raises(ValueError, match="broken"):
        await anext(results)


async def test_what_serving_raises_ends_it_and_the_rest_is_cancelled() -> None:
    serving = Serving()
    with pytest.raises(KeyError):
        async for _ in in_order(_numbers(100), serving, 8):
            pass
    assert serving.at_once == 0
    assert len(serving.begun) <= 13 + 8


async def test_whoever_stops_taking_leaves_nothing_running() -> None:
    serving = Serving()
    async with aclosing(in_order(_numbers(100), serving, 8)) as results:
        await anext(results)
    assert serving.at_once == 0
    assert len(asyncio.all_tasks()) == 1
