"""Reading a trail backwards, and following it, against what was written.

Trails are random: several writers, some long gone, each nearly in the order of time.
"""

import random

import pytest
from sqlalchemy import delete

from tests.written import MINUTE, START, Written
from vault.errors import Reason, VaultError
from vault.service.following import MOST_WAITING, Follower, Subscription
from vault.service.reading import SECOND, Backwards, ReadEvent, Span, parse_bookmark, span
from vault.store import tables as t


async def _fill(written: Written, seed: int) -> random.Random:
    """Write some hours of five writers, two hundred events each at most."""
    chance = random.Random(seed)
    for _ in range(5):
        at, chain = START + chance.randrange(180) * MINUTE, written.chain()
        moments = []
        for _ in range(chance.randrange(1, 200)):
            at += chance.randrange(MINUTE)
            moments.append(at - chance.randrange(MINUTE))  # a request began before it was written
        await written.write(chain, moments)
    return chance


@pytest.mark.parametrize("seed", range(3))
async def test_a_span_is_read_whole_in_pages_of_any_size(written: Written, seed: int) -> None:
    chance = await _fill(written, seed)
    for _ in range(5):
        since = START + chance.randrange(300) * MINUTE
        which = Span(since, since + chance.randrange(1, 300) * MINUTE)
        for page in (10**9, chance.randrange(20, 200)):
            names = [event.body.request_id for event in await written.read(which, page)]
            assert len(names) == len(set(names))
            assert set(names) == written.within(which)


async def test_the_newest_come_first(written: Written) -> None:
    await _fill(written, 7)
    times = [event.body.at for event in await written.read(span(None, None))]
    assert len(times) == len(written.events)
    oldest_yet = times[0]
    for at in times:  # requests take a minute at most, so nothing comes later than that
        assert at <= oldest_yet + MINUTE
        oldest_yet = min(oldest_yet, at)
    assert oldest_yet == min(at for at, _ in written.events)


async def test_what_is_written_between_two_pages_takes_nothing_away(written: Written) -> None:
    chain, quiet = written.chain(), written.chain()
    await written.write(quiet, [START + i * MINUTE for i in range(20)])
    await written.write(chain, [START + (100 + i) * MINUTE for i in range(20)])
    which = span(None, START + 200 * MINUTE)
    walk = Backwards(written.reader, which, {})
    await walk.start()
    first = [event for _ in range(5) if (event := await walk.next())]
    expected = written.within(which)
    await written.write(chain, [START + 150 * MINUTE])
    await written.write(quiet, [START + 199 * MINUTE, START + 300 * MINUTE])
    again = Backwards(written.reader, which, parse_bookmark(walk.bookmark())[1])
    await again.start()
    rest = []
    while event := await again.next():
        rest.append(event)
    assert expected <= {event.body.request_id for event in first + rest}
    assert len(first + rest) == len(expected) + 1  # and what the quiet writer wrote in the span


async def test_reading_the_last_minutes_opens_little_of_a_long_trail(written: Written) -> None:
    for _ in range(3):
        await written.write(written.chain(), [START + i * SECOND for i in range(2000)])
    for since, until in ((1990, 2000), (1000, 1010)):
        which = Span(START + since * SECOND, START + until * SECOND)
        walk = Backwards(written.reader, which, {})
        await walk.start()
        found = 0
        while await walk.next():
            found += 1
        assert found == 30
        assert walk.looked_at <= 3 * (10 + 2 * 120 + 2)  # 120 s of slack


async def test_a_cut_off_beginning_is_no_obstacle(written: Written) -> None:
    chain = written.chain()
    await written.write(chain, [START + i * MINUTE for i in range(600)])
    async with written.database.writes.begin() as connection:
        await connection.execute(delete(t.audit).where(t.audit.c.sequence < 400))
    which = Span(START + 300 * MINUTE, START + 500 * MINUTE)
    assert len(await written.read(which, 7)) == 100


async def test_what_does_not_open_is_shown_as_damaged(written: Written) -> None:
    chain = written.chain()
    await written.write(chain, [START + i * SECOND for i in range(5)])
    for sequence, sealed in ((1, b""), (2, b"\x01\x01\x00" + bytes(60)), (4, bytes(100))):
        async with written.database.writes.begin() as connection:
            row = t.audit.c.sequence == sequence
            await connection.execute(t.audit.update().where(row).values(sealed=sealed))
    found = await written.read(span(None, None), 2)
    assert [(e.sequence, e.damaged) for e in found] == [
        (4, True), (3, False), (2, True), (1, True), (0, False)]  # fmt: skip
    assert {e.body.reason for e in found if e.damaged} == {Reason.DAMAGED}


BOOKMARKS = ("", "AAAA", "?", "A" * 33, "é", "A" * 32 + "_" * 9 + "wA")


@pytest.mark.parametrize("text", BOOKMARKS)
def test_what_is_no_bookmark_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 -- whichever it is, its text goes nowhere
        parse_bookmark(text)


async def test_following_shows_every_event_once_in_the_order_of_its_chain(
    written: Written,
) -> None:
    seen: list[ReadEvent] = []
    follower = Follower(written.reader, seen.extend, lookback=60)
    old, new = written.chain(), written.chain()
    await written.write(old, [START + i * SECOND for i in range(300)])
    await follower.start(START + 300 * SECOND)
    assert [e.body.request_id for e in seen] == [f"r{i}" for i in range(240, 300)]
    seen.clear()
    await follower.look()
    assert not seen
    with follower.subscribed() as subscription:
        await written.write(old, [START + 301 * SECOND] * 3)
        await written.write(new, [START + 302 * SECOND] * 1200)
        await follower.look()
        await follower.look()
        read: list[ReadEvent] = []
        while len(read) < 1203:
            read += await subscription.next()
    assert read == seen
    assert sorted(e.body.request_id for e in seen) == sorted(f"r{i}" for i in range(300, 1503))
    for writer in {e.writer for e in seen}:
        sequences = [e.sequence for e in seen if e.writer == writer]
        assert sequences == sorted(sequences)


async def test_a_reader_that_is_too_slow_is_told_so() -> None:
    subscription = Subscription()
    event = ReadEvent(b"", 0, b"", None)  # type: ignore[arg-type]  # never looked at
    subscription.put([event] * MOST_WAITING)
    subscription.put([event])
    assert len(await subscription.next()) == MOST_WAITING
    with pytest.raises(VaultError) as caught:
        await subscription.next()
    assert caught.value.reason is Reason.OVERLOADED
