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

    @property
    def shipped(self) -> Path:
        """The checkpoints of that auditor; the folder isn't there to begin with."""
        return self.folder / "gone" / "shipped.jsonl"

    def raised(self, kind: str, saying: str = "") -> list[dict[str, Any]]:
        """Return the alarms of a kind in accounts."""
        file = self.folder / "alarms.jsonl"
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        found = [a for a in map(json.loads, lines) if a["compartment"] == "accounts"]
        return [a for a in found if a["alarm"] == kind and saying in a["sentence"]]

    def alarm(self, kind: str, saying: str) -> dict[str, Any]:
        """Wait for an alarm in accounts, and for its metric."""
        alarm = soon(lambda: self.raised(kind, saying))[0]
        metric = f'piivault_alarms_total{{compartment="accounts",kind="{kind}"}} '
        soon(lambda: metric in (self.folder / "piivault.prom").read_text(encoding="utf-8"))
        return dict(alarm)


@pytest.fixture(scope="module")
def alarmed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alarmed]:
    """The house is new: nobody has touched anything in it."""
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
        yield Alarmed(house, folder)


def test_an_owners_first_touch(alarmed: Alarmed) -> None:
    alarmed.house.phone_of(alarmed.house.register())
    assert alarmed.alarm("first_touch", "for the first time")["owner"] == OWNER


def test_a_checkpoint_that_can_not_be_shipped_is_overdue(alarmed: Alarmed) -> None:
    """The folder that they go to isn't there."""
    alarm = alarmed.alarm("checkpoint_overdue", "No checkpoint of accounts was shipped")
    assert alarm["count"] >= alarm["limit"] == 2
    alarmed.shipped.parent.mkdir()
    soon(alarmed.shipped.exists)


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
    alarmed.alarm("broken_chain", "doesn't open")
    alarmed.alarm("broken_chain", "doesn't follow from the event before it")


def test_an_end_that_was_cut_off_breaks_the_chain(alarmed: Alarmed) -> None:
    shipped = alarmed.shipped.read_text(encoding="ascii").splitlines()
    lines = [json.loads(line) for line in shipped]
    newest = [line["checkpoint"] for line in lines if line["name"] == "accounts"][-1]
    writer, last, _ = newest["heads"][0]
    cut = f"DELETE FROM audit WHERE writer = x'{writer}' AND sequence >= {last}"
    alarmed.house.sql("accounts", cut)
    assert writer in alarmed.alarm("broken_chain", "was cut off")["sentence"]
