"""Hash chains: what was changed, put in, taken out or moved is found; what can't be is named."""

import asyncio
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trails import in_order
from tests.vectors import generate
from vault.audit.chain import (
    Chain,
    Link,
    body_of,
    first,
    hash_of,
    open_event,
    place_of,
    seal_body,
    verify,
)
from vault.audit.event import ALLOWED, Event, SameSaid, token
from vault.crypto import padding
from vault.crypto.envelope import Kind, seal
from vault.crypto.primitives import DamagedError
from vault.sealed.v1 import sealed_pb2

COMPARTMENT = b"accounts: 16 byt"
KEY, KEY_VERSION = bytes(range(32)), 3


def _event(number: int) -> Event:
    return Event(1, "orders", "shop-team", "services", "reveal", f"request {number}", ALLOWED)


async def _key() -> tuple[bytes, int]:
    return KEY, KEY_VERSION


def _chain() -> Chain:
    chain = Chain(COMPARTMENT, _key)
    asyncio.run(chain.ready())
    return chain


def _write(chain: Chain, batch: int) -> list[Link]:
    rows = chain.extend([_event(number) for number in range(batch)])
    chain.settle()
    return [Link(**row) for row in rows]  # type: ignore[arg-type]


def _trail() -> list[Link]:
    """Three writers: of six events in three batches, of four, and of one."""
    chains = _chain(), _chain(), _chain()
    batches = ((0, 3), (1, 4), (0, 1), (2, 1), (0, 2))
    return in_order(link for chain, size in batches for link in _write(chains[chain], size))


def _breaks(links: Iterable[Link]) -> list[tuple[bytes, int]]:
    return [(its.writer, its.sequence) for its in verify(COMPARTMENT, in_order(links))]


def _with(link: Link, changed: Link) -> list[Link]:
    return [changed if its is link else its for its in TRAIL]


def _flipped(link: Link, name: str, bit: int) -> Link:
    """The link with one bit of one part changed; bits are counted around the part's end."""
    changed = bytearray(getattr(link, name))
    changed[bit // 8 % len(changed)] ^= 1 << bit % 8
    parts: dict[str, Any] = {name: bytes(changed)}
    return replace(link, **parts)


TRAIL = _trail()
LAST = {link.writer: link for link in TRAIL}  # the last of each writer stays
INNER = [link for link in TRAIL if link is not LAST[link.writer]]

links = st.sampled_from(TRAIL)
inner = st.sampled_from(INNER)
bits = st.integers(0, 8 * 4096)


def test_an_untouched_trail_holds() -> None:
    assert _breaks(TRAIL) == []
    assert _breaks([]) == []


# What chains find.


@given(inner, st.sampled_from(["token", "sealed"]), bits)
def test_a_changed_body_or_token_is_found_by_the_next(link: Link, name: str, bit: int) -> None:
    assert (link.writer, link.sequence + 1) in _breaks(_with(link, _flipped(link, name, bit)))


@given(links, st.sampled_from(["writer", "previous"]), bits)
def test_a_changed_place_in_the_chain_is_found(link: Link, name: str, bit: int) -> None:
    assert _breaks(_with(link, _flipped(link, name, bit)))


@given(links, st.integers(0, 40))
def test_a_changed_sequence_is_found(link: Link, sequence: int) -> None:
    changed = _with(link, replace(link, sequence=sequence))
    assert bool(_breaks(changed)) == (sequence != link.sequence)


@given(inner)
def test_an_event_taken_out_is_found_where_it_stood(link: Link) -> None:
    rest = [other for other in TRAIL if other is not link]
    assert (link.writer, link.sequence) in _breaks(rest)


@given(st.sets(inner, min_size=1))
def test_several_taken_out_are_found(taken: set[Link]) -> None:
    assert _breaks(link for link in TRAIL if link not in taken)


@given(links, links, st.integers(0, 8))
def test_an_event_put_in_is_found(copied: Link, near: Link, sequence: int) -> None:
    """A copy of any event, under any writer that there is, at any place but its end."""
    ends = LAST[near.writer].sequence
    put_in = replace(copied, writer=near.writer, sequence=min(sequence, ends))
    assert _breaks([*TRAIL, put_in])


@given(links, links)
def test_two_events_that_changed_places_are_found(one: Link, other: Link) -> None:
    """Whole, or with everything but their place in the order."""
    if one is other:
        return
    moved = {
        one: replace(other, writer=one.writer, sequence=one.sequence),
        other: replace(one, writer=other.writer, sequence=other.sequence),
    }
    assert _breaks(moved.get(link, link) for link in TRAIL)


def test_a_trail_of_another_compartment_does_not_hold() -> None:
    found = {(its.writer, its.sequence) for its in verify(b"orders:   16 byt", TRAIL)}
    assert found == {(link.writer, link.sequence) for link in TRAIL}


def test_each_break_is_named_once() -> None:
    """One event changed in each writer but the last: as many breaks, and at the right places."""
    chosen = {link for link in INNER if link.sequence == 1}
    changed = [replace(link, token=bytes(16)) if link in chosen else link for link in TRAIL]
    assert _breaks(changed) == [(link.writer, 2) for link in TRAIL if link in chosen]


# What chains alone can't find: it takes a checkpoint that was shipped before.


@given(st.data())
def test_a_tail_cut_off_is_not_found(data: st.DataObject) -> None:
    kept = {w: data.draw(st.integers(0, last.sequence + 1)) for w, last in LAST.items()}
    assert _breaks(link for link in TRAIL if link.sequence < kept[link.writer]) == []


@given(st.sets(st.sampled_from(sorted(LAST))))
def test_a_whole_writer_taken_out_is_not_found(gone: set[bytes]) -> None:
    assert _breaks(link for link in TRAIL if link.writer not in gone) == []


@given(inner)
def test_a_tail_written_anew_is_not_found_by_hashes_but_does_not_open(link: Link) -> None:
    """Whoever leaves an event out can close the gap, for hashes need no key; seals do."""
    kept = [its for its in TRAIL if its.writer != link.writer or its.sequence < link.sequence]
    left = [its for its in TRAIL if its.writer == link.writer and its.sequence > link.sequence]
    forged, previous = [], link.previous
    for sequence, its in enumerate(left, link.sequence):
        forged.append(replace(its, sequence=sequence, previous=previous))
        previous = hash_of(COMPARTMENT, forged[-1])
    assert _breaks([*kept, *forged]) == []
    for its in forged:
        with pytest.raises(DamagedError):
            open_event(KEY, COMPARTMENT, its)


# Seals.


def test_an_event_opens_at_its_place_alone() -> None:
    for here in TRAIL:
        assert open_event(KEY, COMPARTMENT, here).operation == "reveal"
        for there in TRAIL:
            if there is not here:
                moved = replace(here, writer=there.writer, sequence=there.sequence)
                for other in (moved, replace(here, token=there.token)):
                    with pytest.raises(DamagedError):
                        open_event(KEY, COMPARTMENT, other)
    with pytest.raises(DamagedError):
        open_event(KEY, b"orders:   16 byt", here)
    with pytest.raises(DamagedError):
        open_event(KEY[::-1], COMPARTMENT, here)


@pytest.mark.parametrize(
    "plaintext", [b"\xff" * 32, padding.pad(b"\xff\xff", 32)], ids=["not padded", "no message"]
)
def test_authentic_bytes_that_mean_nothing_are_damage(plaintext: bytes) -> None:
    first = TRAIL[0]
    place = (COMPARTMENT, first.writer, bytes(8), first.previous, first.token)
    sealed = seal(KEY, Kind.AUDIT, KEY_VERSION.to_bytes(8, "big"), place, plaintext)
    link = replace(first, sequence=0, sealed=sealed)
    with pytest.raises(DamagedError, match="authentic, but no event"):
        open_event(KEY, COMPARTMENT, link)


def test_a_body_has_one_of_few_lengths_and_names_its_key() -> None:
    for size in (0, 10, 200, 2000):
        event = replace(_event(0), recipient="р" * size)
        place = place_of(COMPARTMENT, TRAIL[0])
        link = replace(TRAIL[0], sealed=seal_body(KEY, KEY_VERSION, place, body_of(event)))
        assert (len(link.sealed) - 39) % padding.AUDIT_STEP == 0
        assert link.key_version == KEY_VERSION


# The chain of this process.


def test_what_several_events_say_is_sealed_for_each_in_its_place() -> None:
    one, other = _event(0), _event(1)
    events: list[Event | SameSaid] = [
        one,
        SameSaid(one, bytes(16)),
        other,
        SameSaid(one, b"+" * 16),
        SameSaid(other, b"-" * 16),
    ]
    rows = _chain().extend(events)
    links = [Link(**row) for row in rows]  # type: ignore[arg-type]
    assert [link.token for link in links] == [event.token for event in events]
    assert [open_event(KEY, COMPARTMENT, link) for link in links] == [
        event.said.to_message() for event in events
    ]
    assert len({link.sealed for link in links}) == len(links)
    assert _breaks(links) == []


def test_batches_continue_one_another() -> None:
    chain = _chain()
    written = [*_write(chain, 2), *_write(chain, 3)]
    assert [link.sequence for link in written] == [0, 1, 2, 3, 4]
    assert len({link.writer for link in written}) == 1
    assert [open_event(KEY, COMPARTMENT, link).request_id for link in written] == [
        f"request {number}" for number in (0, 1, 0, 1, 2)
    ]
    assert _breaks(written) == []


def test_an_event_keeps_its_own_token_in_clear() -> None:
    chain, event = _chain(), _event(0)
    assert chain.extend([event])[0]["token"] == event.token


@pytest.mark.parametrize("stored", [False, True], ids=["not stored", "stored after all"])
def test_after_a_doubtful_commit_a_new_writer_begins(stored: bool) -> None:
    """Whether the rows of that commit are there or not, the trail holds."""
    chain = _chain()
    before = _write(chain, 2)
    doubtful = [Link(**row) for row in chain.extend([_event(0)])]  # type: ignore[arg-type]
    chain.abandon()
    after = _write(chain, 2)
    assert after[0].writer != before[0].writer
    assert after[0].sequence == 0
    assert _breaks([*before, *(doubtful if stored else []), *after]) == []


def test_two_runs_are_two_writers() -> None:
    assert _write(_chain(), 1)[0].writer != _write(_chain(), 1)[0].writer


def test_a_writer_begins_in_its_compartment() -> None:
    writer = TRAIL[0].writer
    assert TRAIL[0].previous == first(COMPARTMENT, writer)
    assert first(COMPARTMENT, writer) != first(b"orders:   16 byt", writer)


# The frozen vectors; see tests/vectors/README.md.

VECTORS: dict[str, Any] = json.loads(
    (Path(generate.__file__).parent / "audit_v1.json").read_text(encoding="utf-8")
)


def _published() -> Sequence[Link]:
    writer, raw = bytes.fromhex(VECTORS["writer"]), bytes.fromhex
    return [
        Link(writer, its["sequence"], raw(its["previous"]), raw(its["token"]), raw(its["sealed"]))
        for its in VECTORS["links"]
    ]


def test_the_published_chain_holds() -> None:
    compartment, published = bytes.fromhex(VECTORS["compartment"]), _published()
    assert list(verify(compartment, published)) == []
    assert hash_of(compartment, published[-1]) == bytes.fromhex(VECTORS["head"])


def test_the_published_events_open() -> None:
    key, compartment = bytes.fromhex(VECTORS["key"]), bytes.fromhex(VECTORS["compartment"])
    for link, published in zip(_published(), VECTORS["links"], strict=True):
        assert link.key_version == VECTORS["key_version"]
        event = published["event"]
        uses = [sealed_pb2.FieldUse(**use) for use in event["fields"]]
        digest = bytes.fromhex(event["row_digest"])
        expected = sealed_pb2.AuditEvent(**{**event, "fields": uses, "row_digest": digest})
        assert open_event(key, compartment, link) == expected


def test_the_published_tokens_are_found_again() -> None:
    salt = bytes.fromhex(VECTORS["salt"])
    for link, published in zip(_published(), VECTORS["links"], strict=True):
        assert token(salt, published["event"]["at"]) == link.token
