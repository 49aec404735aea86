"""Writers of a trail that are killed: a process to be started by a test, which forks them.

    python -m tests.killing URL ROUNDS

Each child records events one after another and answers each on a pipe, until SIGKILL comes at a
random moment. Prints, for each child, its answers: a JSON list a line.
"""

import asyncio
import gc
import itertools
import json
import os
import random
import signal
import sys
import time

from vault.audit.chain import Chain
from vault.audit.event import ALLOWED, Event
from vault.store.commit import Committer
from vault.store.engine import Database, connect

# Little is imported here, so that a fork copies little.
COMPARTMENT = b"accounts: 16 byt"
KEY = bytes(range(32))
AT_ONCE = 3  # writers that wait for each group commit
_LONGEST = 0.003  # seconds between a child's first answer and its end, at most


async def _key() -> tuple[bytes, int]:
    return KEY, 1


def _committing(database: Database) -> Committer[Event]:
    return Committer(database, Chain(COMPARTMENT, _key), lambda: 0)


def _asked(request_id: str) -> Event:
    return Event(1, "orders", "shop", "services", "reveal", request_id, ALLOWED)


async def _warm(database: Database) -> None:
    """Record once, so that children need not compile statements anew."""
    committer = _committing(database)
    await committer.record(_asked("warm"))
    await committer.close()
    await database.close()


async def _record_for_ever(database: Database, child: int, answers: int) -> None:
    committer = _committing(database)

    async def ask(writer: int) -> None:
        for number in itertools.count():
            request = f"{child}.{writer}.{number}"
            await committer.record(_asked(request))
            os.write(answers, request.encode() + b"\n")

    await asyncio.gather(*map(ask, range(AT_ONCE)))


def _kill_one(database: Database, child: int) -> list[str]:
    """Fork a writer, wait for its first answer, kill it; return what it answered."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        try:
            asyncio.run(_record_for_ever(database, child, writing))
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb", buffering=0) as answers:
        answered = answers.read(1) or b""
        time.sleep(random.random() * _LONGEST)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        while more := answers.read(65536):
            answered += more
    # A line is written at once, so that none is cut off.
    return answered.decode().splitlines()


def main(url: str, rounds: int) -> None:
    database = connect(url)
    asyncio.run(_warm(database))
    gc.freeze()
    gc.disable()
    for child in range(rounds):
        sys.stdout.write(json.dumps(_kill_one(database, child)) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
