"""The key server goes away while keys rotate: whoever has keys in memory reads on."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

import pytest

from tests import rotating
from tests.rotating import OFFICER, check, find, person, register
from tests.served import serving_process
from vault.dev import Running
from vault.errors import Reason, VaultError
from vault.keys.provision import worker
from vault.keys.transit import Transit
from vault.service import keys as acts
from vault.service.compartment import ServedCompartment
from vault.service.rotation import Level
from vault.service.rotation_steps import Did

PEOPLE = [person(n) for n in range(1, 4)]


class Line:
    """The way to the key server, which can be cut."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._ends: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> str:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1")
        return f"https://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def cut(self) -> None:
        """Close it and whatever goes over it; a new connection is refused."""
        assert self._server is not None
        self._server.close()
        for end in list(self._ends):
            end.transport.abort()
        await asyncio.sleep(0)

    async def _carry(self, here: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        there, forth = await asyncio.open_connection("127.0.0.1", self._port)
        self._ends |= {back, forth}
        await asyncio.gather(_pump(here, forth), _pump(there, back))


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while some := await source.read(65536):
            sink.write(some)
            await sink.drain()
    except OSError:
        pass
    finally:
        sink.close()


@asynccontextmanager
async def process(url: str, running: Running) -> AsyncIterator[tuple[ServedCompartment, Line]]:
    """Open a compartment as a process with a line of its own, which knows everybody."""
    line = Line(urlsplit(running.key_server).port or 0)
    login = running.app_roles[worker("accounts")]
    transit = Transit(await line.open(), running.key_server_ca, login, timeout=2.0)
    try:
        async with serving_process(url, transit, 3600.0) as served:
            await served.establish()
            yield served, line
    finally:
        await line.cut()
        transit.close()


@pytest.fixture
async def two(
    database_url: str, running: Running
) -> AsyncIterator[tuple[tuple[ServedCompartment, Line], tuple[ServedCompartment, Line]]]:
    async with AsyncExitStack() as stack:
        one, other = [
            await stack.enter_async_context(process(database_url, running)) for _ in range(2)
        ]
        for who in PEOPLE:
            await register(one[0], who)
        await check(other[0], PEOPLE)
        yield one, other


Process = tuple[ServedCompartment, Line]


async def _read(served: ServedCompartment) -> None:
    for who in PEOPLE:
        record = await served.records.open(who.address)
        assert list(record.values().values()) == sorted(who.values, key=lambda v: v.uid)


async def test_reads_go_on_where_an_index_is_switched(two: tuple[Process, Process]) -> None:
    """Three epochs begin meanwhile. Who has the new index key looks up by it, too."""
    (one, its_line), (other, line) = two
    await rotating.start(one, Level.INDEX)
    await line.cut()
    seen: list[Did] = []
    async for step in rotating.steps(one):
        if not seen:
            await its_line.cut()
        seen.append(step.did)
        await other.look_at_keys()
        assert other.epoch == one.epoch
        await _read(other)
        await check(one, PEOPLE)
    assert {Did.SWITCHED, Did.DESTROYED, Did.ENDED} <= set(seen)
    with pytest.raises(VaultError) as refused:
        await find(other, PEOPLE[0].email)  # a key that it never had
    assert refused.value.reason is Reason.KEYS_UNAVAILABLE


async def test_reads_go_on_where_a_kek_is_rotated_and_old_ones_destroyed(
    two: tuple[Process, Process],
) -> None:
    """A record is read by the KEK in memory until its data key is wrapped anew."""
    (one, _), (other, line) = two
    await rotating.start(one, Level.EPOCH)
    await other.look_at_keys()
    await other.wrap(PEOPLE[0].address, (await other.records.open(PEOPLE[0].address)).data_key)
    await line.cut()
    async for _ in rotating.steps(one):
        await other.look_at_keys()
        await _read(other)


STOPPED = {
    "an eviction": (acts.evict,),
    "a stop, lifted again": (
        lambda served, visit: acts.suspend(served, visit, None),
        lambda served, visit: acts.resume(served, visit, None),
    ),
}


@pytest.mark.parametrize("done", STOPPED.values(), ids=STOPPED)
async def test_what_officers_had_forgotten_is_asked_for_anew(
    two: tuple[Process, Process], done: Sequence[Callable[..., Awaitable[acts.Acted]]]
) -> None:
    (one, _), (other, line) = two
    await line.cut()
    await _read(other)
    for act in done:
        await act(one, OFFICER)
        await other.look_at_keys()
    with pytest.raises(VaultError) as refused:
        await _read(other)
    assert refused.value.reason is Reason.KEYS_UNAVAILABLE
    await _read(one)
