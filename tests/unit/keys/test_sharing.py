"""Calls of the key server that share a request: who is in which, and what each hears."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from vault.errors import Reason, VaultError
from vault.keys.sharing import MOST_A_REQUEST, Lanes

HERE, THERE = b"here", b"there"

Sharing = Lanes[bytes, bytes]


class KeyServer:
    """Answers backwards; each request waits until it may."""

    def __init__(self) -> None:
        self.asked: list[list[bytes]] = []
        self.may_answer = asyncio.Event()
        self.error: Exception | None = None
        self.forgets = 0  # answers

    async def send(self, inputs: Sequence[bytes]) -> Sequence[bytes]:
        """Answer all, or fail."""
        self.asked.append(list(inputs))
        await self.may_answer.wait()
        if self.error:
            raise self.error
        return [one[::-1] for one in inputs][self.forgets :]


def run(story: Callable[[KeyServer, Sharing], Awaitable[None]]) -> None:
    """Tell a story in a loop of its own, which must end."""

    async def told() -> None:
        server = KeyServer()
        async with asyncio.timeout(5):
            await story(server, Lanes(server.send))

    asyncio.run(told())


async def asking(shared: Sharing, *asked: bytes, of: bytes = HERE) -> list[asyncio.Task[bytes]]:
    """Ask at once, and see to it that what can be sent is."""
    tasks = [asyncio.create_task(shared.ask(of, one)) for one in asked]
    await asyncio.sleep(0.02)  # longer than company is waited for
    return tasks


def test_those_who_come_while_one_is_asked_share_the_next_request() -> None:
    async def story(server: KeyServer, shared: Sharing) -> None:
        first = await asking(shared, b"1a", b"1b")
        others = await asking(shared, b"2a") + await asking(shared, b"2b")
        assert server.asked == [[b"1a", b"1b"]]  # nobody joins what was sent
        server.may_answer.set()
        assert await asyncio.gather(*first, *others) == [b"a1", b"b1", b"a2", b"b2"]
        assert server.asked == [[b"1a", b"1b"], [b"2a", b"2b"]]
        assert await shared.ask(HERE, b"3a") == b"a3"  # after a pause, too

    run(story)


def test_two_compartments_share_no_request_and_wait_for_none_of_the_other() -> None:
    async def story(server: KeyServer, shared: Sharing) -> None:
        here = asyncio.create_task(shared.ask(HERE, b"1a"))
        there = await asking(shared, b"1b", of=THERE)
        assert server.asked == [[b"1a"], [b"1b"]]
        server.may_answer.set()
        assert await asyncio.gather(here, *there) == [b"a1", b"b1"]

    run(story)


def test_no_request_is_larger_than_the_key_server_takes() -> None:
    async def story(server: KeyServer, shared: Sharing) -> None:
        server.may_answer.set()
        asked = [b"%d" % n for n in range(2 * MOST_A_REQUEST + 1)]
        answers = await asyncio.gather(*(shared.ask(HERE, one) for one in asked))
        assert list(answers) == [one[::-1] for one in asked]
        assert [len(request) for request in server.asked] == [MOST_A_REQUEST, MOST_A_REQUEST, 1]

    run(story)


def test_nothing_is_asked_for_whoever_left_and_nobody_else_loses_by_it() -> None:
    async def story(server: KeyServer, shared: Sharing) -> None:
        first, second = await asking(shared, b"1a", b"1b")
        waiting = await asking(shared, b"2a", b"2b")
        first.cancel()
        waiting[0].cancel()
        server.may_answer.set()
        assert list(await asyncio.gather(second, waiting[1])) == [b"b1", b"b2"]
        assert server.asked == [[b"1a", b"1b"], [b"2b"]]

    run(story)


def test_a_request_is_not_sent_for_nobody() -> None:
    async def story(server: KeyServer, shared: Sharing) -> None:
        server.may_answer.set()
        task = asyncio.create_task(shared.ask(HERE, b"1a"))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await asyncio.sleep(0)
        assert server.asked == []
        assert await shared.ask(HERE, b"2a") == b"a2"

    run(story)


@pytest.mark.parametrize("error", [VaultError(Reason.KEYS_UNAVAILABLE, "Retry."), KeyError("x")])
def test_all_of_a_request_hear_what_went_wrong_and_the_next_is_sent(error: Exception) -> None:
    async def story(server: KeyServer, shared: Sharing) -> None:
        failing = await asking(shared, b"1a", b"1b")
        server.error = error
        server.may_answer.set()
        assert await asyncio.gather(*failing, return_exceptions=True) == [error, error]
        server.error = None
        assert await shared.ask(HERE, b"2a") == b"a2"

    run(story)


def test_an_answer_too_few_is_nobodys() -> None:
    async def story(server: KeyServer, shared: Sharing) -> None:
        server.forgets = 1
        server.may_answer.set()
        answers = await asyncio.gather(
            *(shared.ask(HERE, one) for one in (b"1a", b"1b")), return_exceptions=True
        )
        assert [type(answer) for answer in answers] == [ValueError, ValueError]

    run(story)
