"""What an attacker gets hold of after the three years, and the truth to judge them by."""

from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.attack.population import BEGAN, DAY, SWEEPS, YEARS, Population, Session
from tests.attack.population_calls import (
    EDITION,
    Log,
    Signer,
    Simulation,
    Workers,
    set_clock,
    side_by_side,
    simulated_time,
)
from tests.people import COMPARTMENTS
from tests.wire import PATIENCE
from vault import app, config
from vault.audit.chain import Link, open_event
from vault.crypto.pseudonym import transit_input
from vault.crypto.record import Address
from vault.dev import Running
from vault.keys.key import KeyKind, KeyName
from vault.keys.provision import BROKER, PSEUDONYM_KEY
from vault.keys.transit import Transit
from vault.names import to_base64url
from vault.service.call import PolicyState
from vault.service.compartment import ServedCompartment
from vault.service.sweep import sweep
from vault.store.backup import back_up
from vault.store.backup_format import Contents
from vault.store.engine import connect
from vault.store.events import read_events

AT_ONCE = 64  # sessions side by side
AT_A_TIME = 200  # HMACs of a request: the key server counts the strings in one
LAST_DAYS = 2 * DAY  # between the backup and the one before it

Numbered = Mapping[int, bytes]  # by the number of a person


@dataclass(frozen=True, slots=True)
class Truth:
    """By compartment, what is whose."""

    pseudonyms: Mapping[str, Numbered]
    tombstones: Mapping[str, Numbered]
    traces: Mapping[str, Mapping[bytes, int]]  # a token in the trail, and whose it is
    requests: Mapping[str, int]  # a request id, and whose it was


@dataclass(frozen=True, slots=True)
class Loot:
    """One backup of each compartment, another of some days before, control's, and the logs."""

    files: Mapping[str, Sequence[Path]]
    before: Mapping[str, Sequence[Path]]
    control: Path
    logs: Mapping[str, Sequence[str]]


async def live(running: Running, population: Population, folder: Path) -> tuple[Loot, Truth]:
    """Carry out three years on a prepared house, and take everything that isn't a key."""
    signer = Signer()
    pinned = {f"{config.ENVIRONMENT_PREFIX}CAPABILITY_KEYS": to_base64url(signer.public)}
    for name in COMPARTMENTS:  # nothing polls here
        pinned[f"{config.ENVIRONMENT_PREFIX}COMPARTMENTS__{name.upper()}__KEY_STALE_AFTER"] = "3600"
    settings = config.load(running.config, pinned)
    issued = {name: _issued(running, population, name) for name in COMPARTMENTS}
    log = Log()
    async with AsyncExitStack() as stack:
        served, editions = {}, None
        for name in COMPARTMENTS:
            served[name], editions = await stack.enter_async_context(app.opened(settings, name))
        assert editions is not None
        policy = editions.state()
        simulation = Simulation(Workers(served, policy, editions), issued, signer)
        with simulated_time(), log.kept():
            before = await _carry_out(running, population, simulation, served, policy, folder)
        files = {name: await _back_up(running, name, folder, "last") for name in COMPARTMENTS}
        traces = {n: await _traces(running, served[n], simulation.whose) for n in COMPARTMENTS}
        tombstones = {n: await _tombstones(served[n], issued[n], population) for n in COMPARTMENTS}
    control = folder / "control.backup"
    await _write(running, "control", {Contents.CONTROL: control})
    return Loot(files, before, control, log.lines), Truth(
        issued, tombstones, traces, simulation.whose
    )


def _issued(running: Running, population: Population, name: str) -> Numbered:
    """Return pseudonyms as the broker makes them: by its login and its key, many in a request."""
    uuid = EDITION.compartment(name).uuid
    login = running.app_roles[BROKER]
    transit = Transit(running.key_server, running.key_server_ca, login, timeout=PATIENCE)
    asked = [transit_input(uuid, person.root) for person in population.people]
    hmacs: list[bytes] = []
    for at in range(0, len(asked), AT_A_TIME):
        answer = transit.write(
            f"{transit.mount}/hmac/{PSEUDONYM_KEY}",
            key_version=1,
            algorithm="sha2-256",
            batch_input=[{"input": b64encode(a).decode()} for a in asked[at : at + AT_A_TIME]],
        )
        results = answer["data"]["batch_results"]
        hmacs += [b64decode(result["hmac"].rpartition(":")[2]) for result in results]
    assert hmacs[0] == transit.hmac(PSEUDONYM_KEY, asked[0])
    transit.close()
    return {p.number: raw for p, raw in zip(population.people, hmacs, strict=True)}


async def _carry_out(
    running: Running,
    population: Population,
    simulation: Simulation,
    served: Mapping[str, ServedCompartment],
    policy: PolicyState,
    folder: Path,
) -> Mapping[str, Sequence[Path]]:
    """Live the sessions in order, with sweeps between; back up shortly before the end."""
    before: Mapping[str, Sequence[Path]] = {}
    start = 0
    for end in (*SWEEPS, BEGAN + YEARS - LAST_DAYS, BEGAN + YEARS):
        due = [s for s in population.sessions if start <= s.at < end]
        for sessions in _side_by_side(due):
            await side_by_side([simulation.visit(session) for session in sessions])
        set_clock(end)
        if end in SWEEPS:
            await side_by_side([sweep(each, lambda: policy) for each in served.values()])
        elif not before:
            before = {n: await _back_up(running, n, folder, "before") for n in COMPARTMENTS}
        start = end
    return before


def _side_by_side(sessions: Sequence[Session]) -> Iterator[Sequence[Session]]:
    """Cut them into lots, nobody twice in one."""
    lot: list[Session] = []
    for session in sessions:
        if len(lot) == AT_ONCE or any(s.person is session.person for s in lot):
            yield lot
            lot = []
        lot.append(session)
    yield lot


async def _back_up(running: Running, name: str, folder: Path, when: str) -> Sequence[Path]:
    files = {c: folder / f"{name}-{when}.{c}" for c in (Contents.DATA, Contents.KEYS)}
    await _write(running, name, files)
    return list(files.values())


async def _write(running: Running, name: str, files: Mapping[Contents, Path]) -> None:
    database = connect(running.owner_urls[name])
    try:
        await back_up(database, files)
    finally:
        await database.close()


async def _traces(
    running: Running, served: ServedCompartment, whose: Mapping[str, int]
) -> Mapping[bytes, int]:
    """Open the trail, and say whose each token is."""
    database = connect(running.owner_urls[served.name])
    links = [Link(*row) async for row in read_events(database)]
    await database.close()
    found = {}
    for link in links:
        key = await served.keyring.get(KeyName(KeyKind.AUDIT, link.key_version))
        event = open_event(key, served.uuid, link)
        if event.request_id in whose:
            found[link.token] = whose[event.request_id]
    return found


async def _tombstones(
    served: ServedCompartment, issued: Numbered, population: Population
) -> Numbered:
    return {
        person.number: await served.tombstone(Address(served.uuid, issued[person.number]))
        for person in population.left
    }
