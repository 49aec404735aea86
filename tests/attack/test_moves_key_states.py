"""States of keys, changed by whoever owns the database: a stop is a column, and isn't sealed."""

import time
from collections.abc import Mapping

from piivault.officers import OfficersClient

from tests.attack.attempts import CONTROL, RESIDUAL, Attempts, Wall
from tests.attack.rows import Rows, reading
from tests.people import Registered
from tests.split import SplitHouse
from tests.wire import PATIENCE
from vault.errors import Reason
from vault.store import tables as t

WEB = "web"


def _becomes(house: SplitHouse, person: Registered, reason: str) -> bool:
    until = time.monotonic() + PATIENCE
    while (found := reading(house, person)) != reason and time.monotonic() < until:
        time.sleep(0.1)
    return found == reason


def test_a_stop_is_undone_by_who_owns_the_database(
    split_house: SplitHouse, rows: Mapping[str, Rows], attempts: Attempts
) -> None:
    """An officer's emergency stop holds against services, and not against that administrator."""
    house, person = split_house, split_house.register(WEB)
    address = house.running.servers[f"worker-{WEB}"].address
    environment = {
        **house.environment("officer-aida"),
        f"PIIVAULT_COMPARTMENT_{WEB.upper()}_ADDRESS": address,
    }
    with OfficersClient.from_env(environment) as officers:
        keys = officers.keys(WEB)
        keys.suspend()
        try:
            assert reading(house, person) == Reason.KEYS_SUSPENDED
            attempts.record(Wall.KEYS, "undo a stop", "as it is", CONTROL)
            (stopped,) = rows[WEB].all(t.compartment)
            serving = {**stopped, "state": "serving", "epoch": stopped["epoch"] + 1}
            with rows[WEB].changed((t.compartment, stopped, serving)):
                assert _becomes(house, person, "")
            attempts.record(Wall.KEYS, "undo a stop", "by the row", RESIDUAL)
            assert _becomes(house, person, Reason.KEYS_SUSPENDED)
        finally:
            keys.resume()
    assert _becomes(house, person, "")
    operations = [event.operation for event in house.trail(WEB).events]
    assert operations.count("keys.suspend") == operations.count("keys.resume") > 0
