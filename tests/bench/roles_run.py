"""Running the roles: the population is loaded on both sides, and each plays."""

from collections.abc import Mapping

from piivault import AsyncClient
from piivault.auditors import AuditClient

from tests.bench import plain
from tests.bench.clients import officer, tls
from tests.bench.load import fill
from tests.bench.population import PORTAL, reader, root
from tests.bench.processes import Process
from tests.bench.roles import Role, play, pseudonyms
from tests.bench.roles_sides import Ours, Plain
from tests.bench.sample import Progress
from vault.dev import Running
from vault.policy import Edition
from vault.store.engine import connect


def load(
    running: Running, edition: Edition, compartment: str, persons: int, progress: Progress
) -> Mapping[int, bytes]:
    """Fill a compartment with people of whom the portal has root ids; return their pseudonyms."""
    uuid = edition.compartment(compartment).uuid
    progress(f"issuing {persons:,} pseudonyms")
    issued = dict(enumerate(pseudonyms(running, uuid, range(persons))))
    fill(running, compartment, persons, lambda span: [issued[number] for number in span], progress)
    return issued


async def compare(
    running: Running,
    worker: Process,
    others: Process,
    compartment: str,
    issued: Mapping[int, bytes],
    progress: Progress,
) -> list[Role]:
    """Play all roles; `others` is who serves the broker and the auditor."""
    database = connect(running.owner_urls[compartment])
    try:
        await plain.fill(database, (root(number) for number in issued))
        other = Plain(database)
        await other.start()
        async with (
            AsyncClient(
                worker.address,
                tls=tls(running, PORTAL),
                timeout=60,
                broker_address=others.address,
            ) as portal,
            AsyncClient(
                worker.address, tls=tls(running, reader(compartment)), timeout=60
            ) as service,
        ):
            with AuditClient.from_env(officer(running, others.address)) as auditor:
                ours = Ours(compartment, portal, service, auditor, issued)
                await ours.start()
                return await play(ours, other, len(issued), progress)
    finally:
        await database.close()
