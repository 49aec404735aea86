"""Many at once: nobody is starved, nobody is hidden, and one damaged record hurts nobody else."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from piivault import errors

from tests.house import House
from vault.names import Pseudonym


def test_a_withdrawal_is_not_starved_by_others_writes(house: House) -> None:
    """Writers of one record take turns, so that each of them gets through."""
    person = house.register("accounts")
    stop = Event()

    def keep_writing() -> int:
        written = 0
        while not stop.is_set():
            person.subject.put("accounts", {"city": "Ош"})
            written += 1
        return written

    with ThreadPoolExecutor(8) as pool:
        writers = [pool.submit(keep_writing) for _ in range(7)]
        for _ in range(5):
            person.subject.withdraw("accounts", ["newsletter"])
            person.subject.grant("accounts", house.consents("accounts", {"newsletter"}))
        stop.set()
        assert all(writer.result() for writer in writers)


def test_records_without_consent_hide_none_that_have_it(house: House) -> None:
    """However many share a value: consent is looked at before anything is left out."""
    phone = "+996 700 445566"
    for _ in range(105):
        house.register("accounts", consents=(), phone=phone)
    consented = {house.register("accounts", phone=phone).pseudonym for _ in range(3)}
    support = house.client("support").compartment("accounts", purpose="account")
    assert set(support.find_all(phone=phone)) == consented


def test_a_damaged_record_is_not_found_and_hides_no_other(house: House) -> None:
    """Nobody could look at its consent: so nobody is told that it is there."""
    phone = "+996 700 112233"
    damaged = house.register("accounts", phone=phone)
    whole = house.register("accounts", phone=phone)
    raw = Pseudonym.parse(damaged.pseudonym).raw.hex()
    literal = "'\\x{}'" if house.postgres else "x'{}'"
    junk, key = literal.format("00"), literal.format(raw)
    house.sql("accounts", f"UPDATE records SET sealed = {junk} WHERE pseudonym = {key}")
    support = house.client("support").compartment("accounts", purpose="account")
    assert support.find_all(phone=phone) == [whole.pseudonym]
    assert support.find(email=damaged.values["email"]) is None
    with pytest.raises(errors.Damaged):
        support.reveal(damaged.pseudonym, ["last_name"])
    damaged.subject.erase("accounts")
    with pytest.raises(errors.Erased):
        support.reveal(damaged.pseudonym, ["last_name"])
