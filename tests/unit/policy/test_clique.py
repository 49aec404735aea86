"""Cliques, against an oracle that tries every pair of every holder by brute force."""

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from vault.policy import Conflict, Holder, conflicts, reach

COMPARTMENTS = "abcde"
SERVICES = ("one", "two", "three", "four")
OWNERS = ("red", "blue")

grants = st.lists(st.tuples(st.sampled_from(SERVICES), st.sampled_from(COMPARTMENTS)))
owner_of = st.dictionaries(st.sampled_from(SERVICES), st.sampled_from(OWNERS))
pairs = st.sets(st.sets(st.sampled_from(COMPARTMENTS), min_size=2, max_size=2).map(frozenset))


def _oracle(
    granted: list[tuple[str, str]], owners: dict[str, str], joinable: set[frozenset[str]]
) -> set[tuple[str, str, frozenset[str]]]:
    found = set()
    for (service, first), (other, second) in product(granted, granted):
        pair = frozenset((first, second))
        if service not in owners or other not in owners or len(pair) == 1 or pair in joinable:
            continue
        if service == other:
            found.add(("service", service, pair))
        if owners[service] == owners[other]:
            found.add(("owner", owners[service], pair))
    return found


@given(grants, owner_of, pairs)
def test_finds_just_what_trying_every_pair_finds(
    granted: list[tuple[str, str]], owners: dict[str, str], joinable: set[frozenset[str]]
) -> None:
    found = list(conflicts(reach(granted, owners), joinable))
    assert {
        (its.holder.kind, its.holder.name, frozenset((its.first, its.second))) for its in found
    } == _oracle(granted, owners, joinable)
    assert len(found) == len(set(found))


def test_a_sentence_names_the_pair_the_holder_and_the_remedy() -> None:
    message = Conflict(Holder("owner", "red"), "a", "b").message
    assert "the owner red would hold both a and b" in message
    assert "take one of them away" in message


def test_whoever_acts_for_subjects_reaches_nothing() -> None:
    """Subject-facing services aren't among those given, and their grants don't count."""
    assert reach([("portal", "a"), ("one", "b")], {"one": "red"}) == {
        Holder("service", "one"): {"b": 1},
        Holder("owner", "red"): {"b": 1},
    }
