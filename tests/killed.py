"""A program that carries rotations out and is killed after every single step.

    python -m tests.killed KEY_SERVER CA ROLE_ID_FILE SECRET_ID_FILE

Is given a level and the URL of a database a line. Each life is a process of its own: it looks
whether everybody's record opens and is found, begins the rotation (or finds it), does one step and
ends at once, as if killed. Prints what each life did, and at last OVER, or what was wrong.
"""

import asyncio
import os
import sys
from pathlib import Path

from tests import rotating
from tests.rotating import check, person, policy
from tests.served import serving_process
from vault.keys.login import AppRole
from vault.keys.transit import Transit
from vault.service import rotation_index, rotation_keys, rotation_records
from vault.service.epoch import awaits_officer
from vault.service.rotation import Level
from vault.service.rotation_run import carry_out
from vault.store.rotations import RUNNING, rotations

PEOPLE = [person(n) for n in range(1, 13)]
LIVES = 40
OVER = "nothing is left to do"
GOES_ON, NOTHING_LEFT, WRONG = 9, 0, 1


async def one_step(arguments: list[str]) -> None:
    """Do one step and die; or return, where nothing is left to do."""
    address, ca, *login, level, url = arguments
    transit = Transit(address, Path(ca), AppRole(Path(login[0]), Path(login[1])))
    async with serving_process(url, transit) as served:
        await served.establish()
        await check(served, PEOPLE)
        if not await rotations(served.database):
            await rotating.start(served, Level(level))
            died("began")
        for row in await rotations(served.database):
            if row.state == RUNNING and not awaits_officer(served, row):
                async for step in carry_out(served, row, policy):
                    died(step.did)


def died(what: str) -> None:
    """End at once: no transaction is finished, no connection closed."""
    print(what, flush=True)
    os._exit(GOES_ON)


def life(arguments: list[str]) -> int:
    """Live once; return how it ended."""
    child = os.fork()  # nothing runs here beside this thread
    if not child:
        try:
            asyncio.run(one_step(arguments))
        except BaseException as e:
            print(f"it failed: {e!r}", flush=True)
            os._exit(WRONG)
        os._exit(NOTHING_LEFT)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def lives(arguments: list[str]) -> str:
    """Live again and again; return how it ended."""
    for _ in range(LIVES):
        ended = life(arguments)
        if ended != GOES_ON:
            return OVER if ended == NOTHING_LEFT else "it went wrong"
    return "it never ends"


if __name__ == "__main__":
    rotation_index._PAGE = rotation_keys._PAGE = rotation_records._PAGE = 5
    rotation_index._DROPPED = rotation_records._DROPPED = 7
    for line in sys.stdin:
        print(lives([*sys.argv[1:], *line.split()]), flush=True)
