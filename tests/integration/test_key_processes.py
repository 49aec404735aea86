"""Processes of one compartment, as a deployment runs them: one is told, all follow, one is paused.

The bound is a second here, instead of ten.
"""

import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import piivault
import pytest
from piivault import errors
from piivault.keys import KeyVersion
from piivault.officers import OfficersClient

from tests.house import House
from tests.people import Registered
from tests.workers import BOUND, Worker, worker_process


@pytest.fixture(scope="module")
def workers(postgres_house: House) -> Iterator[tuple[Worker, Worker]]:
    with ExitStack() as stack:
        one, other = (stack.enter_context(worker_process(postgres_house)) for _ in range(2))
        yield one, other


@pytest.fixture
def person(postgres_house: House) -> Registered:
    return postgres_house.register()


@pytest.fixture(autouse=True)
def _resumed(postgres_house: House, workers: tuple[Worker, Worker]) -> Iterator[None]:
    """Whoever is asked for the status looks at once; the other worker has polled by then."""
    yield
    with workers[0].keys() as keys:
        keys.resume()
    time.sleep(BOUND)
    with OfficersClient.from_env(postgres_house.environment("officer-aida")) as officers:
        assert not officers.keys("accounts").status().suspended


Workers = tuple[Worker, Worker]


def _city(subject: piivault.Subject) -> str | None:
    city = subject.view("accounts")["city"]
    return city.expose() if city else None


def test_all_processes_stop_within_the_bound_and_go_on(
    workers: Workers, person: Registered
) -> None:
    one, other = workers
    phone = one.phone_of(person)
    assert other.phone_of(person) == phone
    with one.keys() as keys:
        assert keys.suspend().bound_seconds == BOUND
    time.sleep(BOUND)
    for worker in workers:
        with pytest.raises(errors.KeysSuspended):
            worker.phone_of(person)
    with other.keys() as keys:
        assert keys.status().suspended
        keys.resume()
    time.sleep(BOUND)
    assert {worker.phone_of(person) for worker in workers} == {phone}


def test_a_process_that_was_paused_decrypts_nothing_before_it_looked(
    workers: Workers, person: Registered
) -> None:
    """Its keys are in memory, and requests wait for it: it was stopped before the others were."""
    one, paused = workers
    phone = paused.phone_of(person)
    with ThreadPoolExecutor(8) as pool, paused.client("orders") as client:
        accounts = client.compartment("accounts", purpose="services")
        accounts.reveal(person.pseudonym, ["phone"])  # so that a connection is there
        paused.signal(signal.SIGSTOP)
        asked = [pool.submit(accounts.reveal, person.pseudonym, ["phone"]) for _ in range(8)]
        with one.keys() as keys:
            keys.suspend()
        time.sleep(2 * BOUND)  # longer than it polls, and longer than it may go on without
        paused.signal(signal.SIGCONT)
        for answer in asked:
            with pytest.raises(errors.KeysSuspended):
                answer.result()
    with one.keys() as keys:
        keys.resume()
    time.sleep(BOUND)
    assert paused.phone_of(person) == phone


def test_a_process_that_was_paused_through_nothing_answers_as_before(
    workers: Workers, person: Registered
) -> None:
    """It looks first, and whoever asked doesn't notice."""
    _, paused = workers
    phone = paused.phone_of(person)
    with ThreadPoolExecutor(8) as pool, paused.client("orders") as client:
        accounts = client.compartment("accounts", purpose="services")
        paused.signal(signal.SIGSTOP)
        asked = [pool.submit(accounts.reveal, person.pseudonym, ["phone"]) for _ in range(8)]
        time.sleep(2 * BOUND)
        paused.signal(signal.SIGCONT)
        assert {answer.result()["phone"].expose() for answer in asked} == {phone}


def test_writers_that_meet_another_epoch_are_told_nothing(
    postgres_house: House, workers: Workers, person: Registered
) -> None:
    """Evicted again and again by one process, while others write and never poll in between."""
    never = {f"COMPARTMENTS__ACCOUNTS__KEY_{name}": "3600" for name in ("POLL", "STALE_AFTER")}
    with worker_process(postgres_house, **never) as late, late.client("portal") as portal:
        mine = portal.subject(person.root)
        with workers[0].keys() as keys:
            for turn in range(5):
                epoch = keys.evict().epoch
                mine.put("accounts", {"city": f"Ош {turn}"})
                assert _city(mine) == f"Ош {turn}"
            with late.keys() as seen:
                assert seen.status().epoch == epoch
            keys.suspend()
            with pytest.raises(errors.KeysSuspended):  # a write looks, even if nobody polls
                mine.put("accounts", {"city": "Бишкек"})


def test_a_version_is_suspended_everywhere(workers: Workers, person: Registered) -> None:
    one, other = workers
    phone = other.phone_of(person)
    kek = KeyVersion("kek", 1)
    with one.keys() as keys:
        keys.suspend(kek)
        try:
            time.sleep(BOUND)
            for worker in workers:
                with pytest.raises(errors.KeysSuspended):
                    worker.phone_of(person)
        finally:
            keys.resume(kek)
    time.sleep(BOUND)
    assert other.phone_of(person) == phone
