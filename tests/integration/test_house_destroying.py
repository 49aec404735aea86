"""Officers destroy a key that still wraps data keys: what lies under it is lost."""

from collections.abc import Iterator

import pytest
from piivault.keys import Keys, KeyVersion

from tests.house import House, run_house
from tests.people import Registered
from tests.rotated import Run, ended
from vault.errors import Reason


@pytest.fixture(scope="module")
def rotated_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house of its own: in a shared one, others would meet what is lost."""
    with run_house(tmp_path_factory.mktemp("destroying") / "state", postgres=False) as started:
        yield started


@pytest.fixture(scope="module")
def house(rotated_house: House) -> House:
    return rotated_house


def test_destroying_takes_two_officers_and_just_what_they_signed(
    house: House, ring: Keys, somebody: Registered, piivault_keys: Run
) -> None:
    """A KEK that still wraps: the rotation that would free it waits for a suspended one."""
    old = max(k.name.version for k in ring.status().keys if k.name.kind == "kek")
    kek = KeyVersion("kek", old)
    ring.suspend(kek)
    rotation = ring.rotate("kek")
    newcomer = house.register()
    lost = ring.destroy(kek)
    assert lost.records > 0
    arguments = ("destroy", "accounts", "--key", str(kek), "--reason", "drill", "--yes")
    first = piivault_keys(*arguments)
    assert "1 of 2 officers" in first.output, first.output
    assert not ring.destroy(kek, lost.digest).destroyed
    assert "approved by 1 of 2" in piivault_keys(*arguments).output  # the same officer, again
    somebody.subject.erase("accounts")  # what is lost changes: what was signed is of no use
    second = piivault_keys("approve", "--yes", officer="bakyt")
    assert "in effect" in second.output, second.output
    assert not ring.destroy(kek, lost.digest).destroyed
    for officer in ("aida", "bakyt"):
        done = piivault_keys(*arguments, officer=officer)
        assert done.exit_code == 0, done.output
    assert f"Destroyed: {kek}" in done.output
    again = piivault_keys(*arguments)
    assert (again.exit_code, again.output) == (
        0,
        f"{kek} of accounts is destroyed already. Nothing was changed.\n",
    )
    assert ring.destroy(kek, lost.digest).destroyed
    status = {str(k.name): k.state for k in ring.status().keys}
    assert status[str(kek)] == "destroyed"
    assert house.phone_of(newcomer) == newcomer.values["phone"]
    assert ended(ring, rotation).state == "done"
    operations = [(e.service, e.operation, e.reason) for e in house.trail("accounts").events]
    assert ("officer:aida", f"keys.destroy/kek/{old}", Reason.STALE_ETAG) in operations
    assert ("officer:bakyt", f"keys.destroy/kek/{old}", "") in operations
