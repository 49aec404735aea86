"""What officers' commands on keys share: waiting for a rotation, and the key server.

The key server lets whoever may trim a key trim away what is needed still: it can't know. So all
that these commands trim away, they do by `trim`.
"""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import click
from piivault.keys import Keys
from piivault.rotations import Rotation

from vault.cli.progress import bars
from vault.cli.signing import key_server
from vault.keys.officer import TransitOfficer

OFFICERS_LOGIN = (
    "PIIVAULT_KEY_SERVER, PIIVAULT_KEY_SERVER_CA and PIIVAULT_TOKEN_FILE say where the key server "
    "is and by which login: one with the policy piivault-officer."
)
_POLL = 0.2  # seconds between looks
_LABELS = {"epoch": "kek", "superseded": "old data keys"}


@contextmanager
def at_key_server() -> Iterator[TransitOfficer]:
    """Open the key server under the officer's own login; raise ClickException."""
    with closing(key_server()) as transit:
        yield TransitOfficer(transit)


def trim(ring: Keys, server: TransitOfficer, key: str, below: int) -> None:
    """Trim versions of a Transit key away for ever, if nothing is wrapped under them just now.

    Raises ClickException where something is.
    """
    status = ring.status()
    needed = {its.name: its.oldest_needed for its in (status.transit, status.audit_transit)}
    if needed[key] < below:
        raise click.ClickException(
            f"Something is wrapped under version {needed[key]} of {key} again, since a restore "
            "perhaps. Nothing was trimmed away. Run it again."
        )
    server.retire(key, below)


def watch(ring: Keys, rotation: Rotation) -> Rotation:
    """Show how far a rotation is until the workers have done their part.

    Whoever leaves may come back with the same command. Raises ClickException if it failed.
    """
    told = ""
    try:
        with bars() as progress:
            while rotation.state == "running" and not rotation.awaits_officer:
                label = _LABELS.get(rotation.level, rotation.level)
                progress(label, rotation.done, rotation.total)
                if rotation.error and rotation.error != told:
                    told = rotation.error
                    click.echo(f"It waits: {told}", err=True)
                time.sleep(_POLL)
                rotation = ring.rotation(rotation.id)
    except KeyboardInterrupt:
        click.echo("The workers go on without you. The same command shows how far they are.")
        raise
    if rotation.state == "failed":
        raise click.ClickException(f"The rotation {rotation.id.hex()} failed: {rotation.error}")
    return rotation
