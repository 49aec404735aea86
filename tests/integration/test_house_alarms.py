"""Every alarm, raised by what it is for: a trail that is really broken, late, or written of old.

Enumeration and a burst of denials are in `test_house_watching`.
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.house import House, run_house
from tests.officers import Officers, reveal, soon
from tests.wire import open_channel, send

OWNER = "municipal_services"


@dataclass(frozen=True, slots=True)
class Alarmed:
    """A house, and what one more auditor writes beside it."""

    house: House
    folder: Path

    def shipped(self) -> list[Any]:
        """Return the checkpoints of accounts that this auditor shipped, the newest last."""
        return [line["checkpoint"] for line in self._lines("gone/shipped.jsonl", "name")]

    def raised(self, kind: str, saying: str = "") -> list[dict[str, Any]]:
        """Return the alarms of a kind in accounts."""
        found = self._lines("alarms.jsonl", "compartment")
        return [a for a in found if a["alarm"] == kind and saying in a["sentence"]]

    def _lines(self, name: str, of: str) -> list[dict[str, Any]]:
        file = self.folder / name
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        return [line for line in map(json.loads, lines) if line[of] == "accounts"]

    def alarm(self, kind: str, saying: str) -> dict[str, Any]:
        """Wait for an alarm in accounts, and for its metric."""
        alarm = soon(lambda: self.raised(kind, saying))[0]
        metric = f'piivault_alarms_total{{compartment="accounts",kind="{kind}"}} '
        soon(lambda: metric in (self.folder / "piivault.prom").read_text(encoding="utf-8"))
        return dict(alarm)


@pytest.fixture(scope="module")
def alarmed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alarmed]:
    """Until a checkpoint is overdue, the folder that they are shipped to isn't there."""
    folder = tmp_path_factory.mktemp("alarms")
    gone = folder / "gone"
    with (
        run_house(folder / "state", postgres=False) as house,
        house.another_server(
            SERVER__ROLES="auditor",
            AUDITOR__ALARM_FILE=str(folder / "alarms.jsonl"),
            AUDITOR__SHIP_FILE=str(gone / "shipped.jsonl"),
            AUDITOR__CHECKPOINT_INTERVAL="0.5",
            AUDITOR__THRESHOLDS__CHECKPOINT_OVERDUE="2",
            AUDITOR__THRESHOLDS__OLD_EDITION="5",
            AUDITOR__THRESHOLDS__AGAIN="0.5",
            METRICS__FILE=str(folder / "piivault.prom"),
            METRICS__INTERVAL="0.2",
        ),
    ):
        house.phone_of(house.register())  # the first touch
        alarmed = Alarmed(house, folder)
        soon(lambda: alarmed.raised("checkpoint_overdue"))
        gone.mkdir()
        yield alarmed


def test_an_owners_first_touch(alarmed: Alarmed) -> None:
    assert alarmed.alarm("first_touch", "for the first time")["owner"] == OWNER


def test_a_checkpoint_that_can_not_be_shipped_is_overdue(alarmed: Alarmed) -> None:
    alarm = alarmed.alarm("checkpoint_overdue", "No checkpoint of accounts was shipped")
    assert alarm["count"] >= alarm["limit"] == 2
    soon(alarmed.shipped)


def test_a_worker_that_no_longer_follows_decides_by_an_old_edition(
    alarmed: Alarmed, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = alarmed.house

    async def stuck(*arguments: object) -> None:
        await asyncio.sleep(3600)

    with ExitStack() as stack:
        with monkeypatch.context() as patched:
            patched.setattr("vault.app.follow", stuck)
            alone = house.another_server(SERVER__ROLES="worker", SERVER__EDITION_STALE_AFTER="600")
            address = stack.enter_context(alone)
        channel = stack.enter_context(open_channel(address, house.tls("orders")))
        asking = reveal(house.register(), "phone")
        Officers(house).change()

        def is_raised() -> bool:
            assert send(channel, asking).edition == 1
            return bool(alarmed.raised("old_edition"))

        soon(is_raised)
    assert (
        "decides by edition 1, and edition 2 is in force"
        in (alarmed.alarm("old_edition", "restart it")["sentence"])
    )


CHANGE = """CREATE TRIGGER changed AFTER INSERT ON audit BEGIN
    UPDATE audit SET token = zeroblob(16) WHERE writer = NEW.writer AND sequence = NEW.sequence;
END"""


def test_an_event_that_is_changed_as_it_comes_breaks_the_chain(alarmed: Alarmed) -> None:
    """It doesn't open, and the next one doesn't follow from it."""
    house = alarmed.house
    house.sql("accounts", CHANGE)
    try:
        house.phone_of(house.register())
    finally:
        house.sql("accounts", "DROP TRIGGER changed")
    house.phone_of(house.register())
    soon(alarmed.shipped)  # else it has looked at nothing yet
    alarmed.alarm("broken_chain", "doesn't open")
    alarmed.alarm("broken_chain", "doesn't follow from the event before it")


def test_an_end_that_was_cut_off_breaks_the_chain(alarmed: Alarmed) -> None:
    newest = soon(alarmed.shipped)[-1]
    writer, last, _ = newest["heads"][0]
    cut = f"DELETE FROM audit WHERE writer = x'{writer}' AND sequence >= {last}"
    alarmed.house.sql("accounts", cut)
    assert writer in alarmed.alarm("broken_chain", "was cut off")["sentence"]
