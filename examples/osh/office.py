"""The officers' desk: the next edition, and publishing it with the command that officers use."""

import os
import subprocess
import sysconfig
import tempfile
from pathlib import Path

from examples.osh.cast import POLICY, Cast, environment
from vault.policy import compile_edition


def next_edition(*changes: tuple[str, str]) -> str:
    """Write edition 2: it names edition 1 as its predecessor, and has these texts replaced."""
    text = POLICY.read_text(encoding="utf-8")
    digest = compile_edition(text).digest.hex()
    numbered = (("edition: 1\n", "edition: 2\n"), ("predecessor: null", f"predecessor: {digest}"))
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
