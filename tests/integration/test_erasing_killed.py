"""A process is killed at every statement of an erasure: the record is there whole, or erased."""

import subprocess
import sys
from pathlib import Path

from vault.dev import Running
from vault.keys.provision import worker

# Records, data keys, index rows, tombstones, requests. Where it is erased, what the law has kept is
# a record with a data key, and isn't found by anything.
WHOLE, ERASED = ("1 1 2 0", "1 1 0 1")


def test_a_process_that_is_killed_at_every_statement_erases_whole_and_once(
    postgres_url: str, running: Running
) -> None:
    role = running.app_roles[worker("accounts")]
    files = (running.key_server_ca, role.role_id_file, role.secret_id_file)
    done = subprocess.run(
        [sys.executable, "-m", "tests.killed_erasing", postgres_url, running.key_server, *files],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    *states, ended = done.stdout.splitlines()
    assert ended == "answered", done.stdout + done.stderr
    seen = [state.rpartition(" ")[0] for state in states]
    erased = seen.index(ERASED)
    assert set(seen[:erased]) == {WHOLE}
    assert set(seen[erased:]) == {ERASED}
    assert erased > 5  # it was killed in the middle of it
    assert {state.rpartition(" ")[2] for state in states} <= {"0", "1"}  # one request, in all lives
