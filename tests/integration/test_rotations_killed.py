"""A process is killed after each step of each rotation: the next one goes on, and it ends right."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.database import rows
from tests.killed import OVER, PEOPLE
from tests.rotating import EMAIL, check, register
from tests.served import serving_process
from vault.dev import Running
from vault.keys.key import KeyKind
from vault.keys.officer import TransitOfficer
from vault.keys.provision import worker
from vault.keys.transit import Transit
from vault.service.rotation import Level
from vault.service.rotation_steps import Did
from vault.store import tables as t
from vault.store.rotations import DONE, RUNNING

_PAGES = [Did.WENT_ON] * 3  # of five people each
LIVES: Mapping[Level, list[str]] = {
    Level.KEK: ["began", *_PAGES, Did.ENDED],
    Level.EPOCH: ["began", *_PAGES, Did.DESTROYED],
    Level.DATA_KEY: ["began", *_PAGES, Did.ENDED],
    Level.INDEX: [
        *("began", *_PAGES, Did.SWITCHED),
        *(Did.DROPPED, Did.DROPPED, Did.DESTROYED, Did.ENDED),
    ],
    # Two index keys, KEK, look-up key, canary; the trail's Transit key was not rotated.
    Level.TRANSIT: ["began", *[Did.WENT_ON] * 5, Did.ENDED],
    Level.SUPERSEDED: ["began", *[Did.WENT_ON] * 2, Did.ENDED],
}


@pytest.fixture(scope="module")
def killed(running: Running) -> "Iterator[subprocess.Popen[str]]":
    """The program, started once: it takes longer to start than to be killed."""
    role = running.app_roles[worker("accounts")]
    files = (running.key_server_ca, role.role_id_file, role.secret_id_file)
    with subprocess.Popen(
        [sys.executable, "-m", "tests.killed", running.key_server, *files],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        yield program


async def _begin(url: str, transit: Transit) -> None:
    async with serving_process(url, transit) as served:
        await served.establish()
        for who in PEOPLE:
            await register(served, who)


async def _left(url: str, transit: Transit, level: Level) -> None:
    """Assert that everybody is there, and that nothing old is left."""
    async with serving_process(url, transit) as served:
        await served.establish()
        await check(served, PEOPLE)
        (rotation,) = await rows(served.database, t.rotations)
        assert rotation.state == (RUNNING if level is Level.EPOCH else DONE)
        assert rotation.done == rotation.total
        data_keys = await rows(served.database, t.data_keys)
        if level in (Level.KEK, Level.EPOCH):
            assert {row.kek_version for row in data_keys} == {2}
        if level is Level.DATA_KEY:
            assert len(data_keys) >= 2 * len(PEOPLE)
        index = [
            row for row in await rows(served.database, t.blind_index) if row.field == EMAIL.uid
        ]
        assert {row.version for row in index} == {2 if level is Level.INDEX else 1}
        keyring = await rows(served.database, t.keyring)
        wrapped = {(row.kind, row.field, row.version) for row in keyring if row.wrapped}
        assert ((KeyKind.INDEX, EMAIL.uid, 1) in wrapped) == (level is not Level.INDEX)
        assert ((KeyKind.KEK, 0, 1) in wrapped) == (level is not Level.EPOCH)


@pytest.mark.parametrize("level", [level for level in Level if level is not Level.AUDIT])
def test_a_process_that_is_killed_at_every_step_ends_right(
    level: Level,
    postgres_url: str,
    running: Running,
    login_as: Callable[[str], Transit],
    killed: "subprocess.Popen[str]",
) -> None:
    transit = login_as(worker("accounts"))
    asyncio.run(_begin(postgres_url, transit))
    if level is Level.TRANSIT:
        TransitOfficer(running.admin).rotate("piivault-accounts")
    assert killed.stdin is not None
    assert killed.stdout is not None
    print(level, postgres_url, file=killed.stdin, flush=True)
    lives: list[str] = []
    while not lives or lives[-1] in {"began", *Did}:
        lives.append(killed.stdout.readline().rstrip("\n"))
    assert lives == [*LIVES[level], OVER]
    asyncio.run(_left(postgres_url, transit, level))
