"""A trail held against its checkpoints: whatever is changed up to the last shipped one is found."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from tests.trails import (
    COMPARTMENT,
    DAY,
    KEYS,
    OTHER,
    Kept,
    heads_of,
    made,
    new_chain,
    pruned,
    signed,
    write,
)
from vault.audit.chain import Link, first, hash_of
from vault.audit.checkpoint import Base, Checkpoint, Head, Heads
from vault.audit.claims import Claims
from vault.audit.faults import Faults
from vault.audit.signed import Signed

# Three writers, four checkpoints; the third writer comes late, the first stops early.
WHOLE = made([(3, 2), (2, 1, 2), (0, 3, 1), (0, 1, 1)])
ROOM = st.integers(0, 10_000)


def test_an_untouched_trail_holds() -> None:
    verdict = WHOLE.verify()
    assert verdict.holds
    assert (verdict.events, verdict.writers, verdict.checkpoints, verdict.shipped) == (16, 3, 4, 4)
    assert verdict.trusted == verdict.newest
    assert verdict.trusted is not None
    assert (verdict.trusted.number, verdict.trusted.events) == (3, 16)
    assert verdict.uncovered == 0


# Any single edit of the stored events, as somebody may who holds the database.

Edit = Callable[[list[Link], st.DataObject], list[Link]]


def _change(links: list[Link], data: st.DataObject) -> list[Link]:
    at = data.draw(st.sampled_from(range(len(links))))
    name = data.draw(st.sampled_from(["writer", "previous", "token", "sealed"]))
    old: bytes = getattr(links[at], name)
    bit = data.draw(st.integers(0, len(old) * 8 - 1))
    new = bytearray(old)
    new[bit // 8] ^= 1 << bit % 8
    links[at] = replace(links[at], **{name: bytes(new)})  # type: ignore[arg-type]
    return links


def _renumber(links: list[Link], data: st.DataObject) -> list[Link]:
    at = data.draw(st.sampled_from(range(len(links))))
    other = data.draw(st.integers(0, 50).filter(lambda n: n != links[at].sequence))
    links[at] = replace(links[at], sequence=other)
    return links


def _insert(links: list[Link], data: st.DataObject) -> list[Link]:
    """A copy of an event, in a place that isn't taken, before the end of a covered writer."""
    link = data.draw(st.sampled_from(links))
    near = data.draw(st.sampled_from(links))
    return [*links, replace(link, writer=near.writer, sequence=near.sequence)]


def _delete(links: list[Link], data: st.DataObject) -> list[Link]:
    del links[data.draw(st.sampled_from(range(len(links))))]
    return links


def _swap(links: list[Link], data: st.DataObject) -> list[Link]:
    one, other = data.draw(_two_of(len(links)))
    a, b = links[one], links[other]
    links[one] = replace(b, writer=a.writer, sequence=a.sequence)
    links[other] = replace(a, writer=b.writer, sequence=b.sequence)
    return links


def _two_of(many: int) -> st.SearchStrategy[list[int]]:
    return st.lists(st.sampled_from(range(many)), min_size=2, max_size=2, unique=True)


def _cut_a_tail(links: list[Link], data: st.DataObject) -> list[Link]:
    link = data.draw(st.sampled_from(links))
    return [its for its in links if its.writer != link.writer or its.sequence < link.sequence]


def _cut_a_beginning(links: list[Link], data: st.DataObject) -> list[Link]:
    link = data.draw(st.sampled_from(links))
    return [its for its in links if its.writer != link.writer or its.sequence > link.sequence]


def _rewrite_a_tail(links: list[Link], data: st.DataObject) -> list[Link]:
    """Change an event and compute all hashes behind it anew: no key is needed for that."""
    chosen = data.draw(st.sampled_from(links))
    written: list[Link] = []
    previous = b""
    for link in links:
        made_anew = link
        if link.writer == chosen.writer and link.sequence == chosen.sequence:
            made_anew = replace(link, token=bytes(16))
        elif link.writer == chosen.writer and link.sequence > chosen.sequence:
            made_anew = replace(link, previous=previous)
        previous = hash_of(COMPARTMENT, made_anew)
        written.append(made_anew)
    return written


def _rename_a_writer(links: list[Link], data: st.DataObject) -> list[Link]:
    """The whole chain under another name, with hashes that hold."""
    writer, renamed = data.draw(st.sampled_from(links)).writer, bytes(16)
    written, previous = [], first(COMPARTMENT, renamed)
    for link in (its for its in links if its.writer == writer):
        written.append(replace(link, writer=renamed, previous=previous))
        previous = hash_of(COMPARTMENT, written[-1])
    return [*(its for its in links if its.writer != writer), *written]


EDITS: dict[str, Edit] = {
    "changed": _change,
    "renumbered": _renumber,
    "put in": _insert,
    "taken out": _delete,
    "reordered": _swap,
    "tail cut off": _cut_a_tail,
    "beginning cut off": _cut_a_beginning,
    "tail written anew": _rewrite_a_tail,
    "writer renamed": _rename_a_writer,
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
@given(data=st.data(), behind=st.booleans())
def test_any_edit_up_to_the_last_shipped_checkpoint_is_found(
    edit: Edit, data: st.DataObject, behind: bool
) -> None:
    """Whether or not the stored checkpoints are cut off, too; and events come behind the last."""
    kept = WHOLE.with_links(edit(list(WHOLE.links), data))
    if behind:
        kept = kept.with_links([*kept.links, *write(new_chain(), 2)])
    stored = kept.stored[: data.draw(st.integers(0, len(kept.stored)))]
    assert not replace(kept, stored=stored).verify().holds


@given(st.integers(0, 3), st.sampled_from(["body", "signature"]), ROOM)
def test_any_change_of_a_stored_checkpoint_is_found(number: int, part: str, bit: int) -> None:
    whole = WHOLE.stored[number][1]
    raw = bytearray(getattr(whole, part))
    raw[bit // 8 % len(raw)] ^= 1 << bit % 8
    changed = replace(whole, **{part: bytes(raw)})
    stored = (*WHOLE.stored[:number], (number, changed), *WHOLE.stored[number + 1 :])
    for shipped in (WHOLE.shipped, ()):
        assert not replace(WHOLE, stored=stored, shipped=shipped).verify().holds


@given(st.sets(st.integers(0, 3), min_size=1))
def test_checkpoints_taken_out_are_found(numbers: set[int]) -> None:
    """Those in the middle by the next, those at the end by what was shipped."""
    stored = tuple(its for its in WHOLE.stored if its[0] not in numbers)
    assert not replace(WHOLE, stored=stored).verify().holds


# What is named, and what can be trusted.


def _without(kept: Kept, writer: int, sequence: int) -> Kept:
    name = sorted({link.writer for link in kept.links})[writer]
    return kept.with_links(
        its for its in kept.links if (its.writer, its.sequence) != (name, sequence)
    )


def test_the_first_bad_event_is_named_and_what_lies_before_it_trusted() -> None:
    steps = [(2, 2), (2, 2), (2, 2)]
    kept = made(steps)
    name = kept.links[0].writer
    verdict = _without(kept, 0, 3).verify()
    assert not verdict.holds
    assert verdict.faults.first is not None
    assert (verdict.faults.first.writer, verdict.faults.first.sequence) == (name, 3)
    assert verdict.faults.first.covered == 1
    assert verdict.trusted is not None
    assert (verdict.trusted.number, verdict.trusted.events) == (0, 4)


def test_a_fault_behind_the_last_checkpoint_takes_no_trust_from_it() -> None:
    kept = made([(2,)])
    chain = new_chain()
    links = write(chain, 3)
    verdict = kept.with_links([*kept.links, links[0], links[2]]).verify()
    assert verdict.faults.count == 1
    assert verdict.trusted is not None
    assert verdict.trusted.number == 0
    assert verdict.uncovered == 2


def test_without_shipped_checkpoints_an_end_cut_off_with_its_checkpoints_is_not_found() -> None:
    """Said so plainly, since it is why they are shipped."""
    kept = made([(2, 2), (2, 2)])
    heads = Checkpoint.read(kept.stored[0][1].body).heads
    links = tuple(its for its in kept.links if its.sequence <= heads[its.writer].sequence)
    cut = replace(kept, links=links, stored=kept.stored[:1])
    assert replace(cut, shipped=()).verify().holds
    verdict = cut.verify()
    assert verdict.faults.first is not None
    assert "was cut off" in verdict.faults.first.what
    assert verdict.trusted is not None
    assert verdict.trusted.number == 0


def test_a_whole_writer_that_was_cut_off_is_named() -> None:
    name = WHOLE.links[-1].writer
    verdict = WHOLE.with_links(its for its in WHOLE.links if its.writer != name).verify()
    assert [(its.writer, its.sequence) for its in verdict.faults] == [(name, 0)]


def test_events_that_no_checkpoint_covers_are_counted() -> None:
    kept = WHOLE.with_links([*WHOLE.links, *write(new_chain(), 5)])
    verdict = kept.verify()
    assert verdict.holds
    assert verdict.uncovered == 5


def test_faults_are_counted_beyond_those_that_are_kept() -> None:
    kept = made([(300,)])
    broken = [replace(its, previous=bytes(32)) for its in kept.links]
    verdict = kept.with_links(broken).verify()
    assert verdict.faults.count > 300 > len(list(verdict.faults)) == 100


# Checkpoints that don't count.


def _stored_as(checkpoint: Checkpoint, secret: Ed25519PrivateKey | None = None) -> Kept:
    number = checkpoint.number
    one = (number, signed(checkpoint, secret) if secret else signed(checkpoint))
    return replace(WHOLE, stored=(*WHOLE.stored[:number], one, *WHOLE.stored[number + 1 :]))


LAST = WHOLE.last
BAD = {
    "signed by somebody else": (_stored_as(LAST, OTHER), "isn't among the public keys"),
    "of another compartment": (
        _stored_as(replace(LAST, compartment=bytes(16))), "is of another compartment"),
    "that follows from nothing": (
        _stored_as(replace(LAST, previous=bytes(32))), "doesn't follow from the one before it"),
    "two of one number": (
        _stored_as(replace(LAST, at=LAST.at + 1)), "there is another checkpoint 3"),
    "under another number": (
        replace(WHOLE, stored=(*WHOLE.stored[:3], (4, WHOLE.stored[3][1]))),
        "checkpoint 4 says that it is checkpoint 3"),
    "a gap": (
        replace(WHOLE, stored=(*WHOLE.stored[:1], *WHOLE.stored[2:])), "checkpoint 1 isn't stored"),
    "cut off at the beginning": (
        replace(WHOLE, stored=WHOLE.stored[2:]), "none says that the trail may be cut off there"),
    "cut off at the end": (
        replace(WHOLE, stored=WHOLE.stored[:2]), "checkpoint 3 was shipped, and the last one"),
    "none that was shipped": (replace(WHOLE, stored=()), "shipped, and none is stored"),
    "heads that go back": (
        _stored_as(replace(LAST, heads={WHOLE.links[0].writer: Head(0, bytes(32))})), "checkpoint"),
}  # fmt: skip


@pytest.mark.parametrize(("kept", "said"), BAD.values(), ids=BAD)
def test_a_checkpoint_that_does_not_hold_is_named(kept: Kept, said: str) -> None:
    verdict = kept.verify()
    assert not verdict.holds
    assert any(said in str(fault) for fault in verdict.faults)


def test_what_is_shipped_under_another_key_does_not_count() -> None:
    shipped = (*WHOLE.shipped[:3], ("line 4", signed(LAST, OTHER)))
    verdict = replace(WHOLE, shipped=shipped).verify()
    assert str(next(iter(verdict.faults))).startswith("line 4 is signed with a key")


def test_checkpoints_alone_may_be_lost_and_the_events_still_be_trusted() -> None:
    """Shipped ones stand in for them; but somebody should know."""
    verdict = replace(WHOLE, stored=WHOLE.stored[:1]).verify()
    assert not verdict.holds
    assert verdict.trusted is not None
    assert verdict.trusted.number == 3


# Retention: cut off at a checkpoint that a later one allows.

KEPT = made([(3, 2), (2, 1, 2), (0, 3, 1), (0, 1, 1)], base_at=2)


@pytest.mark.parametrize("at", [0, 1, 2])
def test_what_a_signed_base_allows_may_be_cut_off(at: int) -> None:
    verdict = pruned(KEPT, at).verify()
    assert [str(its) for its in verdict.faults] == []
    assert verdict.trusted == verdict.newest
    assert verdict.events < len(KEPT.links)


def test_what_was_cut_off_again_still_verifies() -> None:
    assert pruned(pruned(KEPT, 0), 2).verify().holds
    assert replace(pruned(KEPT, 2), shipped=()).verify().holds
    assert replace(pruned(KEPT, 2), shipped=KEPT.shipped[2:]).verify().holds


def test_more_than_a_base_allows_may_not() -> None:
    verdict = pruned(KEPT, 3).verify()
    assert any("may be cut off there" in str(fault) for fault in verdict.faults)
    assert verdict.trusted is None


def test_without_a_base_nothing_may_be_cut_off() -> None:
    assert not pruned(WHOLE, 1).verify().holds


def test_a_base_of_another_history_allows_nothing() -> None:
    kept = made([(3, 2), (2, 1)])
    last = replace(kept.last, base=Base(0, bytes(32)))
    kept = replace(kept, stored=(kept.stored[0], (1, signed(last))), shipped=())
    assert any(
        "isn't the one that the trail was cut off at" in str(f) for f in kept.verify().faults
    )


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
@given(data=st.data())
def test_any_edit_of_what_is_left_is_found(edit: Edit, data: st.DataObject) -> None:
    """Of all that lies behind the base, which is where the rest begins."""
    whole = pruned(KEPT, 2)
    assert not whole.with_links(edit(list(whole.links), data)).verify().holds


# What somebody took note of counts no more, and hides nothing that is changed later.

Way = Callable[[Kept], Kept]


def _lose(kept: Kept) -> Kept:
    return _without(kept, 0, 3)


def _lose_a_tail(kept: Kept) -> Kept:
    name = kept.links[0].writer
    return kept.with_links(its for its in kept.links if its.writer != name or its.sequence < 3)


def _change_one(kept: Kept) -> Kept:
    links = list(kept.links)
    links[2] = replace(links[2], token=bytes(16))
    return kept.with_links(links)


def _write_a_tail_anew(kept: Kept) -> Kept:
    links, previous = list(kept.links), b""
    for at in range(3, 6):
        here = links[at]
        links[at] = replace(here, token=bytes(16)) if at == 3 else replace(here, previous=previous)
        previous = hash_of(COMPARTMENT, links[at])
    return kept.with_links(links)


def _lose_a_checkpoint(kept: Kept) -> Kept:
    return replace(kept, stored=(kept.stored[0], *kept.stored[2:]))


WAYS: dict[str, Way] = {
    "an event lost": _lose,
    "a tail lost": _lose_a_tail,
    "an event changed": _change_one,
    "a tail written anew": _write_a_tail_anew,
    "a checkpoint lost": _lose_a_checkpoint,
}


def _further(heads: Heads, links: Iterable[Link]) -> Heads:
    """A head never goes back, and stays what it was at its place."""
    new = heads_of(links)
    return {
        writer: max(heads.get(writer, Head(-1, b"")), new.get(writer, Head(-1, b"")), key=_sequence)
        for writer in heads.keys() | new.keys()
    }


def _sequence(head: Head) -> int:
    return head.sequence


def accepted(way: Way) -> Kept:
    """A trail of which something is lost or changed, which was accepted; it went on since."""
    whole = made([(4, 3), (2, 1), (0, 1)])
    kept = way(whole)
    before = kept.verify()
    assert not before.holds
    noted = {fault.noted for fault in before.faults}
    assert None not in noted
    heads = _further(whole.last.heads, kept.links)
    taken = whole.last.next(5 * DAY, heads, None, {its for its in noted if its})
    links = [*kept.links, *write(new_chain(), 3)]
    last = taken.next(6 * DAY, _further(heads, links), None)
    both = tuple((its.number, signed(its)) for its in (taken, last))
    shipped = tuple((f"line {n + 4}", its) for n, its in enumerate(its for _, its in both))
    kept = replace(kept, stored=kept.stored + both, shipped=kept.shipped + shipped)
    return kept.with_links(links)


ACCEPTED = {name: accepted(way) for name, way in WAYS.items()}


@pytest.mark.parametrize("kept", ACCEPTED.values(), ids=ACCEPTED)
def test_what_was_accepted_holds(kept: Kept) -> None:
    verdict = kept.verify()
    assert [str(its) for its in verdict.faults] == []
    assert verdict.faults.known
    assert verdict.trusted == verdict.newest


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
@pytest.mark.parametrize("kept", ACCEPTED.values(), ids=ACCEPTED)
@given(data=st.data())
def test_any_edit_of_what_was_accepted_is_found(
    kept: Kept, edit: Edit, data: st.DataObject
) -> None:
    edited = kept.with_links(edit(list(kept.links), data))
    assert edited.links == kept.links or not edited.verify().holds


def test_what_lies_beside_an_accepted_gap_is_still_held() -> None:
    """Neither may the gap grow, nor what lies before it be written anew."""
    kept = ACCEPTED["an event lost"]
    name = next(its.writer for its in kept.links if its.sequence == 5)
    mine = [its for its in kept.links if its.writer == name]
    others = [its for its in kept.links if its.writer != name]
    anew, previous = [], first(COMPARTMENT, name)
    for link in mine[:3]:
        anew.append(replace(link, previous=previous, token=bytes(16), sealed=b"forged"))
        previous = hash_of(COMPARTMENT, anew[-1])
    for left in ([*mine[:3], mine[4]], [*mine[:2], *mine[3:]], [*anew, *mine[3:]]):
        assert not kept.with_links([*others, *left]).verify().holds


def test_another_forged_checkpoint_is_another_fault() -> None:
    forged = _stored_as(LAST, OTHER)
    noted = {its.noted for its in forged.verify().faults if its.noted}
    taken = LAST.next(5 * DAY, LAST.heads, None, noted)
    for one, good in ((forged.stored[3], True), ((3, Signed(LAST.body, bytes(72))), False)):
        end = (4, signed(taken))
        kept = replace(
            WHOLE, stored=(*WHOLE.stored[:3], one, end), shipped=(*WHOLE.shipped, ("5", end[1]))
        )
        assert kept.verify().holds is good


def test_a_file_that_is_of_something_else_can_not_be_accepted() -> None:
    for stored in (WHOLE.stored, ()):
        faults = Faults()
        claims = Claims(COMPARTMENT, KEYS, faults)
        claims.expects_shipped = True
        for number, its in stored:
            claims.store(number, its)
        claims.settle()
        assert [fault.noted for fault in faults] == [None]


# The order of what is read.


def test_an_export_in_disorder_is_found() -> None:
    kept = made([(2, 2)])
    one, two, three, four = kept.links
    assert not replace(kept, links=(three, four, one, two)).verify().holds
    assert not replace(kept, links=(one, three, two, four)).verify().holds


def test_heads_of_all_writers_are_in_each_checkpoint() -> None:
    assert WHOLE.last.heads == heads_of(WHOLE.links)
    assert WHOLE.last.events == len(WHOLE.links)
    assert WHOLE.last.at == 4 * DAY
