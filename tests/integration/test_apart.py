"""A worker of two compartments, when an edition no longer has them joinable.

The key server and the certificates are the split house's; databases and control chain are the
test's own, since what is published there binds every process.
"""

import asyncio
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from piivault.v1 import record_service_pb2 as records

from tests.house import POLICY
from tests.policies import successor
from tests.split import SplitHouse
from tests.wire import is_ready, open_channel, refusal_of, send, wait_for
from vault import app, config
from vault.dev.local import officer_signs, serving
from vault.opening import StartError, open_editions
from vault.service.ledger import EDITION, statement
from vault.store import schema
from vault.store.engine import connect
from vault.store.schema import Schema

PAIR = re.compile(r"joinable:\n.*?\n\n", re.DOTALL)
GRANT = "  - {service: orders, purpose: services, compartment: accounts, operations: [reveal]}\n"
HELD = ("accounts", "orders")


class Worker:
    """One process of two compartments, and its control chain."""

    def __init__(self, house: SplitHouse, folder: Path) -> None:
        self.house, self.text = house, POLICY.read_text(encoding="utf-8")
        settings = house.settings_of("worker-accounts", SERVER__ADDRESS="127.0.0.1:0")
        sections = {name: house.settings_of(f"worker-{name}").compartments[name] for name in HELD}
        self.settings = settings.model_copy(
            update={
                "control": _database(folder, "control"),
                "compartments": {
                    name: section.model_copy(update={"database": _database(folder, name)})
                    for name, section in sections.items()
                },
            }
        )
        asyncio.run(self._begin())

    def publish(self, *changes: tuple[str, str]) -> None:
        """Publish the next edition, signed by both officers."""
        self.text = successor(self.text, *changes)
        asyncio.run(self._publish())

    @contextmanager
    def running(self) -> Iterator[grpc.Channel]:
        """Serve; yields a channel of the service orders."""
        with (
            serving(self.settings) as port,
            open_channel(f"127.0.0.1:{port}", self.house.tls("orders")) as channel,
        ):
            yield channel

    async def _begin(self) -> None:
        for section in (self.settings.control, *(c.database for c in self._compartments())):
            database = connect(section.url)
            kind = Schema.CONTROL if section is self.settings.control else Schema.COMPARTMENT
            await schema.upgrade(database, kind)
            await database.close()
        signature = officer_signs(self.house.running, "aida")(self._statement())
        await app.publish_first(self.settings, self.text.encode(), {"aida": signature})

    async def _publish(self) -> None:
        names = ("aida", "bakyt")
        signed = {o: officer_signs(self.house.running, o)(self._statement()) for o in names}
        async with AsyncExitStack() as stack:
            _, editions = await open_editions(self.settings, stack)
            await editions.add(lambda ledger: ledger.next(EDITION, self.text.encode(), signed))

    def _statement(self) -> bytes:
        return statement(EDITION, self.text.encode())

    def _compartments(self) -> Iterator[config.Compartment]:
        yield from self.settings.compartments.values()


def _database(folder: Path, name: str) -> config.Database:
    return config.Database(url=f"sqlite+aiosqlite:///{folder}/{name}.db")


@pytest.fixture
def worker(split_house: SplitHouse, tmp_path: Path) -> Worker:
    """Outside development, as the edition allows it."""
    made = Worker(split_house, tmp_path)
    assert not made.settings.server.development
    return made


def ask(channel: grpc.Channel, compartment: str) -> str:
    """Ask something of a compartment; return why it was refused, or "" if it was answered."""
    request = records.DescribeRequest(compartment=compartment, purpose="services")
    try:
        send(channel, request)
    except grpc.RpcError as error:
        refusal = refusal_of(error)
        return f"{refusal.reason}: {refusal.message}"
    return ""


def withdrawn(worker: Worker) -> tuple[str, str]:
    """Return what takes the pair out of an edition."""
    return PAIR.findall(worker.text)[0], ""


def test_a_worker_stops_when_its_compartments_are_joinable_no_more(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    """At once, both of them; it says what to do, isn't ready, and doesn't start anew."""
    pair, _ = withdrawn(worker)
    with worker.running() as channel:
        assert [ask(channel, name) for name in HELD] == ["", ""]
        assert is_ready(channel)

        worker.publish((pair, ""), (GRANT, ""))
        wait_for(lambda: ask(channel, "orders") != "")
        for name in HELD:
            assert "POLICY_UNAVAILABLE: Edition 2 keeps compartments apart" in ask(channel, name)
        wait_for(lambda: not is_ready(channel))
        assert not is_ready(channel, "piivault.v1.RecordService")
        assert "edition 2 is in force, and nothing is served here any more" in caplog.text
        assert "accounts and orders. Serve them from processes of their own" in caplog.text
        with pytest.raises(StartError, match="aren't joinable: accounts and orders"):
            worker.running().__enter__()

        worker.publish(("# 2.4 a: each purpose", f"{pair}# 2.4 a: each purpose"))
        wait_for(lambda: ask(channel, "orders") == "")
        wait_for(lambda: is_ready(channel))


def test_an_edition_of_later_stops_it_when_its_time_comes(worker: Worker) -> None:
    """Until then it serves; it needn't hear of the edition a second time."""
    began = "in_force: 2026-01-01T00:00:00+06:00"
    with worker.running() as channel:
        moment = datetime.now(UTC) + timedelta(seconds=2)
        later = (began, f"in_force: {moment.isoformat()}")
        worker.publish(withdrawn(worker), (GRANT, ""), later)
        said = ask(channel, "orders")
        if datetime.now(UTC) < moment:
            assert said == ""
        wait_for(lambda: ask(channel, "orders") != "")
        assert datetime.now(UTC) >= moment
        wait_for(lambda: not is_ready(channel))
        assert "Edition 2 keeps compartments apart" in ask(channel, "accounts")
