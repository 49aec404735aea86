"""Close an epoch with a kill behind each of an officer's calls, one after the other.

    python -m tests.killed_officer keys close-epoch accounts --yes --backup FILE …

Each life is a process of its own that ends at once when its call was answered; the last one isn't
killed. Prints how each ended, and ends as the last one did.
"""

import os
import sys
from typing import Any

from piivault.keys import Keys

from vault.cli import keys_epoch, main
from vault.keys.officer import TransitOfficer

KILLED = 9
CALLS: dict[str, tuple[object, str]] = {
    "begin": (Keys, "close_epoch"),
    "rotate the Transit key": (TransitOfficer, "rotate"),
    "have keys wrapped anew": (Keys, "rotate"),
    "write the backup": (keys_epoch._Backup, "write"),
    "trim": (TransitOfficer, "retire"),
    "end": (Keys, "close_epoch"),
}


def kill_after(call: str) -> None:
    """End this process at once, when the call was answered."""
    owner, name = CALLS[call]
    real = getattr(owner, name)

    def deadly(*args: Any, **more: Any) -> Any:
        answer = real(*args, **more)
        if call != "end" or more:  # ending it says what was trimmed
            os._exit(KILLED)
        return answer

    setattr(owner, name, deadly)


def life(call: str) -> int:
    """Live once; return how it ended."""
    child = os.fork()  # nothing runs here beside this thread, and no channel is open
    if not child:
        if call:
            kill_after(call)
        try:
            main()
        except SystemExit as e:
            print(e, flush=True)
            os._exit(1)
        os._exit(0)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(f"ended {ended}", flush=True)
    return ended


if __name__ == "__main__":
    if any(life(call) != KILLED for call in CALLS):
        sys.exit("a call was never made")
    sys.exit(life(""))
