"""A process killed between audit and answer: an event without an answer, never the other way."""

import json
import subprocess
import sys

from tests.committing import links
from tests.killing import COMPARTMENT, KEY
from vault.audit.chain import open_event, verify
from vault.store.engine import Database

ON_SQLITE, ON_POSTGRESQL = 700, 300  # a round takes longer there


async def test_no_answer_of_a_killed_process_lacks_its_event(
    sqlite: Database, sqlite_url: str, postgres: Database, postgres_url: str
) -> None:
    """A thousand processes are killed at random moments; each is one writer, and answers three."""
    killing = [
        (sqlite, ON_SQLITE, _start(sqlite_url, ON_SQLITE)),
        (postgres, ON_POSTGRESQL, _start(postgres_url, ON_POSTGRESQL)),
    ]
    for database, rounds, process in killing:
        said, _ = process.communicate()
        assert process.returncode == 0
        answered = [set(json.loads(line)) for line in said.splitlines()]
        assert len(answered) == rounds
        assert all(answered)
        found = await links(database)
        assert list(verify(COMPARTMENT, found)) == []
        recorded = {open_event(KEY, COMPARTMENT, link).request_id for link in found}
        assert set().union(*answered) <= recorded
        # Some died in between: else nothing was tried.
        unanswered = recorded - set().union(*answered) - {"warm"}
        assert len({request.split(".")[0] for request in unanswered}) > rounds // 100


def _start(url: str, rounds: int) -> "subprocess.Popen[str]":
    argv = [sys.executable, "-m", "tests.killing", url, str(rounds)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
