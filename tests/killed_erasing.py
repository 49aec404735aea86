"""A program that erases a record and is killed at every statement of it, and once it is over.

    python -m tests.killed_erasing URL KEY_SERVER CA ROLE_ID_FILE SECRET_ID_FILE

Registers somebody of whom the law has something kept. Each life is a process of its own, which
repeats the request and ends before its first statement to the database, the next one before its
second, and so on, until one answers. Each first prints what there is: records, data keys, index
rows, tombstones and requests; so does one more, at the end.
"""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID as Uuid

from sqlalchemy import event
from sqlalchemy.engine import Engine

from tests import keeping, rotating
from tests.database import rows
from tests.rotating import person
from tests.served import UUID, serving_process
from vault.crypto.record import new_record
from vault.errors import Reason, VaultError
from vault.keys.login import AppRole
from vault.keys.transit import Transit
from vault.policy import compile_edition
from vault.service.call import Call, PolicyState
from vault.service.compartment import ServedCompartment
from vault.service.erase import erase
from vault.service.ledger import Ledger
from vault.store import tables as t

WHO = person(1)
LIVES = 60
KILLED, ANSWERED, WRONG = 9, 0, 1
COUNTED = (t.records, t.data_keys, t.blind_index, t.tombstones, t.requests)
ACCOUNTS = "3c1f9a52-84d7-4b1e-a6c0-5e2d7f8091a1"


def call() -> Call:
    """Write the request, the same in every life."""
    edition = compile_edition(keeping.policy().replace(ACCOUNTS, str(Uuid(bytes=UUID))))
    policy = PolicyState(edition, Ledger({}, editions={edition.number: edition}))
    return Call(policy, edition.services["portal"], "0b1e7f0c-7a55-4ad1-9f0c-1d2b4c6f8e90", True)


async def opened(
    arguments: list[str], work: Callable[[ServedCompartment], Awaitable[None]]
) -> None:
    """Do something as one more process would."""
    url, address, ca, *login = arguments
    transit = Transit(address, Path(ca), AppRole(Path(login[0]), Path(login[1])))
    async with serving_process(url, transit) as served:
        await served.establish()
        await work(served)


async def register(served: ServedCompartment) -> None:
    """Register somebody, now."""
    rotating.new_record = lambda kind, _: new_record(kind, int(time.time()))  # type: ignore
    await rotating.register(served, WHO)


async def look(served: ServedCompartment) -> None:
    """Print what there is."""
    counts = [len(await rows(served.database, table)) for table in COUNTED]
    print(*counts, flush=True)


def erasing(statements: int) -> Callable[[ServedCompartment], Awaitable[None]]:
    """Return what erases, and ends the process before so many statements have begun."""

    async def work(served: ServedCompartment) -> None:
        await look(served)
        served.bearer = lambda *_: WHO.address  # type: ignore[method-assign]
        left = statements

        def count(*_: Any) -> None:
            nonlocal left
            left -= 1
            if not left:
                os._exit(KILLED)

        for name in ("before_cursor_execute", "commit"):
            event.listen(Engine, name, count)
        try:
            await erase(served, call(), "")
        except VaultError as e:  # nobody signs here: the receipt is all that is missing
            if e.reason is not Reason.KEYS_UNAVAILABLE:
                raise

    return work


def life(arguments: list[str], work: Callable[[ServedCompartment], Awaitable[None]]) -> int:
    """Live once; return how it ended."""
    child = os.fork()  # nothing runs here beside this thread
    if not child:
        try:
            asyncio.run(opened(arguments, work))
        except BaseException as e:
            print(f"it failed: {e!r}", flush=True)
            os._exit(WRONG)
        os._exit(ANSWERED)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(arguments: list[str]) -> None:
    """Live until the request is answered."""
    assert life(arguments, register) == ANSWERED
    for statements in range(1, LIVES):
        ended = life(arguments, erasing(statements))
        if ended != KILLED:
            assert life(arguments, look) == ANSWERED
            print("answered" if ended == ANSWERED else "it went wrong", flush=True)
            return
    print("it never ends")


if __name__ == "__main__":
    main(sys.argv[1:])
