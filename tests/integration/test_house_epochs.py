"""Officers close epochs, killed or two at once; what was erased before opens nowhere."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from piivault.keys import Keys

from tests.house import House
from tests.people import Registered
from tests.rotated import CLOSE, Run, backup_to
from tests.verifying import owner_of, run
from vault import app
from vault.keys.errors import WrappedKeyRejected
from vault.keys.officer import TransitOfficer
from vault.service.epoch import Erasures, erasures

_ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def house(rotated_house: House) -> House:
    return rotated_house


def test_an_officer_who_is_killed_at_every_call_closes_the_epoch_in_the_end(
    house: House, ring: Keys, somebody: Registered, tmp_path: Path
) -> None:
    """With the backup that one of them wrote. The last one finds it closed."""
    before, file = ring.status(), tmp_path / "accounts-keys"
    gone = house.register()
    gone.subject.erase("accounts")
    ((wrapped,),) = house.sql("accounts", "SELECT wrapped FROM keyring WHERE kind = 'lookup'")
    argv = [sys.executable, "-m", "tests.killed_officer", "keys", "close-epoch", "accounts"]
    environment = {**os.environ, **house.environment("officer-aida")}
    with subprocess.Popen(
        [*argv, "--yes", *backup_to(house, file)],
        cwd=_ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as killed:
        while killed.poll() is None:
            assert house.phone_of(somebody) == somebody.values["phone"]
            time.sleep(0.1)
        assert killed.stdout is not None
        said = killed.stdout.read()
    assert said.count("ended 9") == 6
    assert said.count("was written by an earlier run. It is kept.") == 2  # before trim, and end
    assert "no epoch of accounts is being closed" in said
    assert said.endswith("ended 1\n")
    after = ring.status()
    assert after.erasures.epochs_closed == before.erasures.epochs_closed + 1
    written = file.read_bytes()
    for (now,) in house.sql("accounts", "SELECT wrapped FROM keyring WHERE kind <> 'audit'"):
        assert now.encode() in written
    assert after.transit.oldest_needed > before.transit.oldest_needed
    assert not [r for r in ring.rotations() if r.state == "running"]
    with pytest.raises(WrappedKeyRejected):  # its version is gone, whatever the context
        house.running.admin.decrypt(after.transit.name, wrapped, b"any")


MEANWHILE = {
    "before the Transit key is rotated": (TransitOfficer, "rotate"),
    "before all is wrapped anew": (Keys, "rotate"),
    "before old versions are trimmed away": (TransitOfficer, "retire"),
}


@pytest.mark.parametrize(("owner", "call"), MEANWHILE.values(), ids=MEANWHILE)
def test_two_officers_at_once_close_one_epoch(
    house: House,
    ring: Keys,
    somebody: Registered,
    piivault_keys: Run,
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    call: str,
) -> None:
    """The one does all of it while the other is at some step, and both end well."""
    before, real = ring.status(), getattr(owner, call)

    def overtaken(*args: object) -> object:
        monkeypatch.setattr(owner, call, real)
        done = piivault_keys(*CLOSE, officer="bakyt")
        assert done.exit_code == 0, done.output
        return real(*args)

    monkeypatch.setattr(owner, call, overtaken)
    done = piivault_keys(*CLOSE)
    assert done.exit_code == 0, done.output
    number = before.erasures.epochs_closed + 1
    assert f"Epoch {number} of accounts is closed." in done.output
    assert ring.status().erasures.epochs_closed == number
    assert not [r for r in ring.rotations() if r.state == "running"]
    ring.evict()
    assert house.phone_of(somebody) == somebody.values["phone"]


def test_no_backup_is_taken_for_another(
    house: House, ring: Keys, piivault_keys: Run, tmp_path: Path
) -> None:
    """Neither overwritten, nor trusted, unless it holds the keys as they are by now."""
    file = tmp_path / "accounts-keys"
    old = run(house, "backup", "accounts", "--keys", file, *owner_of(house))
    assert old.returncode == 0, old.stderr
    whole, before = file.read_bytes(), ring.status()
    refused = piivault_keys("close-epoch", "accounts", "--yes", *backup_to(house, file))
    assert "no epoch of accounts is being closed" in refused.output
    assert ring.status().epoch == before.epoch

    ring.close_epoch()  # by somebody who left it
    refused = piivault_keys("close-epoch", "accounts", "--yes", *backup_to(house, file))
    assert refused.exit_code == 1
    assert "isn't a backup of the keys of accounts as they are now" in refused.output
    key = before.transit.name
    oldest = TransitOfficer(house.running.admin).versions(key).oldest
    assert oldest <= before.transit.oldest_needed
    assert file.read_bytes() == whole

    done = piivault_keys("close-epoch", "accounts", "--yes", *backup_to(house, tmp_path / "new"))
    assert done.exit_code == 0, done.output
    assert TransitOfficer(house.running.admin).versions(key).oldest > oldest


def test_no_command_trims_away_what_is_needed_again(
    house: House, ring: Keys, piivault_keys: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that was put back while an officer was asked: the key server would let it go."""
    lookup = "kind = 'lookup'"
    ((old,),) = house.sql("accounts", f"SELECT wrapped FROM keyring WHERE {lookup}")
    put_back = f"UPDATE keyring SET wrapped = '{old}' WHERE {lookup}"
    commands = (("rotate", "accounts", "transit"), ("close-epoch", "accounts"))
    key = ring.status().transit.name
    oldest = TransitOfficer(house.running.admin).versions(key).oldest

    def confirm(question: str, **_: object) -> bool:
        if "Is it written?" in question:
            house.sql("accounts", put_back)
        return True

    monkeypatch.setattr(click, "confirm", confirm)
    for arguments in commands:
        refused = piivault_keys(*arguments)
        assert refused.exit_code == 1, refused.output
        assert "Nothing was trimmed away" in refused.output
        assert TransitOfficer(house.running.admin).versions(key).oldest == oldest
    monkeypatch.undo()
    assert piivault_keys(*CLOSE).exit_code == 0


def test_what_was_erased_is_shredded_and_then_unrecoverable(
    house: House, ring: Keys, piivault_keys: Run
) -> None:
    """As soon as no snapshot of the key server is left from before it was closed."""
    house.register().subject.erase("accounts")
    assert piivault_keys(*CLOSE).exit_code == 0
    again = house.register()
    again.subject.erase("accounts")
    unknown = ring.status().erasures
    assert (unknown.unrecoverable, unknown.snapshot_retention_days) == (0, None)
    expected = {"0": (1, unknown.shredded - 1), "30": (unknown.shredded, 0)}
    for days, found in expected.items():
        erased = _erasures_where_snapshots_are_kept(house, days)
        assert (erased.shredded, erased.unrecoverable) == found
    house.register(root=again.root)  # they come back: nobody may claim one too many
    assert _erasures_where_snapshots_are_kept(house, "0").unrecoverable == unknown.shredded - 2


def _erasures_where_snapshots_are_kept(house: House, days: str) -> Erasures:
    """Ask as a worker that is configured so would."""

    async def ask() -> Erasures:
        settings = house.configured(KEY_SERVER__SNAPSHOT_RETENTION_DAYS=days)
        async with app.opened(settings, "accounts") as (served, _):
            return await erasures(served)

    return asyncio.run(ask())
