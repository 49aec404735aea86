"""The officers' desk: next editions, published with the command that officers use."""

import os
import subprocess
import sysconfig
import tempfile
import time
from pathlib import Path

from examples.osh.cast import POLICY, Cast, environment
from vault.policy import compile_edition

# The fields that the orders service sees for services.
_SERVICES_SEE = "fields: {last_name: plain, first_name: plain, phone: plain"


def wider_edition() -> str:
    """Write edition 2: the orders service sees e-mail addresses too."""
    text = POLICY.read_text(encoding="utf-8")
    return next_edition(text, (_SERVICES_SEE, f"{_SERVICES_SEE}, email: plain"))


def next_edition(text: str, *changes: tuple[str, str]) -> str:
    """Write the edition after this: it names it as its predecessor, and has texts replaced."""
    edition = compile_edition(text)
    before = edition.predecessor.hex() if edition.predecessor else "null"
    numbered = (
        (f"edition: {edition.number}\n", f"edition: {edition.number + 1}\n"),
        (f"predecessor: {before}", f"predecessor: {edition.digest.hex()}"),
    )
    for old, new in (*numbered, *changes):
        if text.count(old) != 1:
            raise ValueError(f"the policy has {old!r} {text.count(old)} times, not once")
        text = text.replace(old, new)
    return text


def publish(cast: Cast, text: str) -> str:
    """Run `piivault policy publish` as the officer Аида; return what it said."""
    piivault = Path(sysconfig.get_path("scripts"), "piivault")
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        done = subprocess.run(
            [piivault, "policy", "publish", file.name, "--yes"],
            env={**os.environ, **environment(cast.running.environments["officer-aida"])},
            capture_output=True,
            text=True,
            check=False,
        )
    return (done.stdout + done.stderr).strip()


def seconds_until(cast: Cast, edition: int) -> float:
    """Wait until an edition is in force; return for how long, 5 seconds at most."""
    accounts = cast.orders.compartment("accounts", purpose="services")
    began = time.monotonic()
    while accounts.describe().edition != edition and time.monotonic() - began < 5:
        time.sleep(0.1)
    return time.monotonic() - began
