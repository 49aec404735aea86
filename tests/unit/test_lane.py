"""A lane: who shares a request, what each is told, and what becomes of those who leave."""

import asyncio
from collections.abc import Sequence

import pytest

from vault.lane import Lane


class Sent:
    """What a lane sent; an answer is what was asked, in capitals. It can be held up, or fail."""

    def __init__(self) -> None:
        self.requests: list[list[str]] = []
        self.begun = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.fails: Exception | None = None
        self.loses = 0  # how many of the answers

    async def __call__(self, asked: Sequence[str]) -> Sequence[str]:
        self.requests.append(list(asked))
        self.begun.set()
        await self.may_answer.wait()
        if self.fails is not None:
            raise self.fails
        return [one.upper() for one in asked][self.loses :]


async def test_those_who_ask_at_once_share_a_request() -> None:
    sent = Sent()
    lane = Lane(sent, most=8)
    assert await asyncio.gather(*map(lane.ask, "abc")) == ["A", "B", "C"]
    assert sent.requests == [["a", "b", "c"]]


async def test_who_asks_twice_is_answered_twice() -> None:
    sent = Sent()
    lane = Lane(sent, most=8)
    assert await asyncio.gather(*map(lane.ask, "aa")) == ["A", "A"]
    assert await lane.ask("a") == "A"
    assert sent.requests == [["a", "a"], ["a"]]  # nothing is kept


@pytest.mark.parametrize(
    ("asked", "requests"),
    [
        pytest.param(["a", "b", "c"], [["a", "b"], ["c"]], id="as many as fit"),
        pytest.param(["aa", "b"], [["aa"], ["b"]], id="the next has no room"),
        pytest.param(["aaa", "b"], [["aaa"], ["b"]], id="larger than any, and alone"),
        pytest.param(["a", "bbb", "c"], [["a"], ["bbb"], ["c"]], id="in the order of their coming"),
    ],
)
async def test_a_request_has_a_size(asked: list[str], requests: list[list[str]]) -> None:
    sent = Sent()
    lane = Lane(sent, most=2, size=len)
    assert await asyncio.gather(*map(lane.ask, asked)) == [one.upper() for one in asked]
    assert sent.requests == requests


async def test_nobody_joins_a_request_that_was_sent() -> None:
    sent = Sent()
    sent.may_answer.clear()
    lane = Lane(sent, most=8)
    first = asyncio.create_task(lane.ask("a"))
    await sent.begun.wait()
    second = asyncio.create_task(lane.ask("b"))
    await asyncio.sleep(0)
    sent.may_answer.set()
    assert (await first, await second) == ("A", "B")
    assert sent.requests == [["a"], ["b"]]


async def test_nothing_is_asked_for_who_has_gone() -> None:
    sent = Sent()
    sent.may_answer.clear()
    lane = Lane(sent, most=8)
    first = asyncio.create_task(lane.ask("a"))
    await sent.begun.wait()
    leaving, staying = asyncio.create_task(lane.ask("b")), asyncio.create_task(lane.ask("c"))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.wait({leaving})
    sent.may_answer.set()
    assert (await first, await staying) == ("A", "C")
    assert sent.requests == [["a"], ["c"]]


async def test_who_leaves_after_it_was_sent_takes_nothing_from_the_others() -> None:
    sent = Sent()
    sent.may_answer.clear()
    lane = Lane(sent, most=8)
    leaving, staying = asyncio.create_task(lane.ask("a")), asyncio.create_task(lane.ask("b"))
    await sent.begun.wait()
    leaving.cancel()
    await asyncio.wait({leaving})
    sent.may_answer.set()
    assert leaving.cancelled()
    assert await staying == "B"


async def test_a_failure_is_told_to_each_and_stops_nobody_else() -> None:
    sent = Sent()
    sent.fails = LookupError("away")
    lane = Lane(sent, most=8)
    told = await asyncio.gather(*map(lane.ask, "ab"), return_exceptions=True)
    assert told == [sent.fails, sent.fails]
    sent.fails = None
    assert await lane.ask("c") == "C"


async def test_answers_that_are_too_few_are_told_to_nobody_as_theirs() -> None:
    sent = Sent()
    sent.loses = 1
    told = await asyncio.gather(*map(Lane(sent, most=8).ask, "ab"), return_exceptions=True)
    assert [type(its) for its in told] == [ValueError, ValueError]


async def test_closing_waits_for_what_is_under_way() -> None:
    sent = Sent()
    sent.may_answer.clear()
    lane = Lane(sent, most=8)
    asking = asyncio.create_task(lane.ask("a"))
    await sent.begun.wait()
    closing = asyncio.create_task(lane.close())
    await asyncio.sleep(0.01)
    assert not closing.done()
    sent.may_answer.set()
    await closing
    assert await asking == "A"


async def test_a_lane_that_was_never_asked_closes_at_once() -> None:
    await Lane(Sent(), most=8).close()
