"""The attack suite: every test of it notes what it attempted."""

import asyncio
from collections.abc import Generator, Iterator, Mapping

import piivault
import pytest

from tests.attack.actors import Actors
from tests.attack.attempts import Attempts, noted
from tests.attack.city import City
from tests.attack.rows import Rows
from tests.people import COMPARTMENTS, Registered
from tests.split import SplitHouse


@pytest.fixture
def attempts(request: pytest.FixtureRequest) -> Attempts:
    """The notes of this test."""
    return Attempts(request.node.user_properties)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test that passes without a note: it attacked nothing."""
    result = yield
    assert noted(item.user_properties), "An attack test notes its attempts: attempts.record(…)."
    return result


@pytest.fixture(scope="module")
def actors(split_house: SplitHouse) -> Iterator[Actors]:
    """Officers and callers, all of whom the edition in force knows."""
    made = Actors(split_house)
    made.settle()
    yield made
    made.close()


@pytest.fixture(scope="module")
def city(actors: Actors) -> City:
    """One person, everywhere."""
    root = piivault.new_root()
    return City(actors, {n: actors.house.register(n, root=root) for n in COMPARTMENTS})


@pytest.fixture(scope="module")
def person(split_house: SplitHouse) -> Registered:
    """Somebody who may be revealed to the clerk of accounts."""
    return split_house.register()


@pytest.fixture(scope="module")
def rows(split_house: SplitHouse) -> Iterator[Mapping[str, Rows]]:
    """Every database, as its owner reads and writes it."""
    with asyncio.Runner() as runner:
        opened = {n: Rows(runner, url) for n, url in split_house.running.owner_urls.items()}
        yield opened
        for database in opened.values():
            database.close()


@pytest.fixture(scope="module")
def twins(split_house: SplitHouse) -> Mapping[str, tuple[Registered, Registered]]:
    """Two people, each with a record in every compartment."""
    roots = (piivault.new_root(), piivault.new_root())
    return {
        c: (split_house.register(c, root=roots[0]), split_house.register(c, root=roots[1]))
        for c in split_house.edition.compartments
    }
