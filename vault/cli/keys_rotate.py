"""`piivault keys rotate` and `rotations`: a new version of a key while traffic runs."""

import json
from dataclasses import asdict
from typing import Any, cast, get_args

import click
from piivault.keys import Keys, TransitKey
from piivault.rotations import Level, Rotation

from vault.cli.keys import asking
from vault.cli.keys_watch import OFFICERS_LOGIN, at_key_server, trim, watch
from vault.cli.tables import console, table
from vault.keys.officer import TransitOfficer
from vault.keys.provision import CAPABILITY_KEY, signing_transit_key
from vault.names import to_base64url

_CAPABILITY = "capability"
_SIGNING = "signing"
_LEVELS = tuple(level for level in get_args(Level) if level not in ("epoch", "superseded"))
_WHAT = {
    "transit": "Both Transit keys of {c} get a new version, and every key of {c} is wrapped anew.",
    "kek": "{c} gets a new KEK. Every data key is wrapped anew under it.",
    "data-key": "Every record of {c} gets a new data key and is sealed anew. Etags change.",
    "index": "The index of {f} is built anew under a new key, beside the old one.",
    "audit": "The trail of {c} is sealed under a new key from now on.",
}

_PIN_CAPABILITY = (
    "1. Add it to `capability_keys` of every worker, and restart them one by one.\n"
    "2. Then add it to the broker's, and restart it: from then on it signs with this version.\n"
    "3. Once the last old capability has expired (`capability_ttl`), take the old key out of\n"
    "   every `capability_keys`, and restart."
)
_PIN_SIGNING = (
    "1. Publish it beside the old one, and pin it where attestations are verified\n"
    "   (PIIVAULT_COMPARTMENT_<NAME>_SIGNING_KEYS).\n"
    "2. Then add it to `signing_keys` of the compartment's workers, and restart them: from then\n"
    "   on they sign with this version.\n"
    "3. Leave the old one published for ever: what it signed is verified by it."
)


@click.command(epilog=OFFICERS_LOGIN)
@click.argument("compartment")
@click.argument("level", type=click.Choice((*_LEVELS, _SIGNING)), required=False)
@click.argument("field", required=False)
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option(
    "--trim", "asked", is_flag=True, help="Of transit: trim old versions away, without asking."
)
@click.option("--leave", is_flag=True, help="Begin it, and don't wait for the end.")
def rotate(
    compartment: str, level: str | None, field: str | None, yes: bool, asked: bool, leave: bool
) -> None:
    """Rotate one level of a compartment's keys; an index is FIELD's. No call fails because of it.

    It may be left and come back to: while it runs, the same command shows how far it is. `transit`
    and `signing` need your login at the key server. `piivault keys rotate capability` is for the
    broker's key.
    """
    if level is None:
        if compartment != _CAPABILITY:
            raise click.UsageError(f"Name a level: {', '.join((*_LEVELS, _SIGNING))}.")
        _rotate_pinned(CAPABILITY_KEY, _PIN_CAPABILITY, yes)
        return
    if bool(field) != (level == "index"):
        raise click.UsageError("An index is one of a field: `index FIELD`; nothing else has one.")
    if level == _SIGNING:
        _rotate_pinned(signing_transit_key(compartment), _PIN_SIGNING, yes)
        return
    _rotate(compartment, cast(Level, level), field or "", yes=yes, asked=asked, leave=leave)


def _rotate(
    compartment: str, level: Level, field: str, *, yes: bool, asked: bool, leave: bool
) -> None:
    with asking(compartment, "Whether it began isn't known.") as ring:
        running = _running(ring, level, field)
        if not running and not yes:
            click.echo(_WHAT[level].format(c=compartment, f=field))
            click.confirm("Rotate?", abort=True)
        if level == "transit":
            _rotate_transit(ring, running, asked, yes)
            return
        rotation = running or ring.rotate(level, field)
        if not leave:
            rotation = watch(ring, rotation)
    click.echo(_sentence(rotation))


@click.command()
@click.argument("compartment")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def rotations(compartment: str, as_json: bool) -> None:
    """List a compartment's rotations, the newest first."""
    with asking(compartment, "Nothing was to be changed.") as ring:
        found = ring.rotations()
    if as_json:
        click.echo(json.dumps([_tree(rotation) for rotation in found], indent=2))
        return
    columns = ("began", "level", "to", "state", "done", "error")
    shown = table(*columns, title=f"Rotations in {compartment}")
    for rotation in found:
        shown.add_row(
            f"{rotation.started_at:%Y-%m-%d %H:%M:%S}",
            ":".join(filter(None, (rotation.level, rotation.field))),
            str(rotation.to_version or "-"),
            "awaits an officer" if rotation.awaits_officer else rotation.state,
            f"{rotation.done:,} of {rotation.total:,}",
            rotation.error,
        )
    console().print(shown)


def _running(ring: Keys, level: Level, field: str) -> Rotation | None:
    for rotation in ring.rotations():
        if (rotation.level, rotation.field, rotation.state) == (level, field, "running"):
            return rotation
    return None


def _rotate_transit(ring: Keys, running: Rotation | None, asked: bool, yes: bool) -> None:
    with at_key_server() as server:
        before = ring.status()
        if running is None:
            for key in (before.transit, before.audit_transit):
                click.echo(f"{key.name} is at version {server.rotate(key.name)}.")
        watch(ring, running or ring.rotate("transit"))
        after = ring.status()
        click.echo("Every key and the canary are wrapped under the newest version.")
        for key in (after.transit, after.audit_transit):
            _offer_to_trim(ring, server, key, asked=asked, yes=yes)


def _offer_to_trim(
    ring: Keys, server: TransitOfficer, key: TransitKey, *, asked: bool, yes: bool
) -> None:
    versions = server.versions(key.name)
    if key.oldest_needed <= versions.oldest:
        return
    if not asked:
        click.echo(
            f"Versions of {key.name} below {key.oldest_needed} aren't needed here any more. Once "
            "they are trimmed away, for ever, backups of keys from before can't be restored: write "
            "a new one first."
        )
        if yes or not click.confirm("Is it written? Trim?"):
            return
    trim(ring, server, key.name, key.oldest_needed)
    click.echo(f"{key.name}: versions below {key.oldest_needed} are trimmed away.")


def _rotate_pinned(key: str, then: str, yes: bool) -> None:
    if not yes:
        click.echo(f"{key} gets a new version. Nothing signs with it until it is pinned.")
        click.confirm("Rotate?", abort=True)
    with at_key_server() as server:
        version = server.rotate(key)
        public = to_base64url(server.public_keys(key)[version])
    click.echo(f"{key} is at version {version}. Its public key:\n\n    {public}\n")
    click.echo(then)


def _sentence(rotation: Rotation) -> str:
    what = ":".join(filter(None, (rotation.level, rotation.field)))
    to = f" to version {rotation.to_version}" if rotation.to_version else ""
    rows = f" {rotation.done:,} of {rotation.total:,} rows." if rotation.total else ""
    return f"Rotation of {what}{to}: {rotation.state}.{rows}"


def _tree(rotation: Rotation) -> dict[str, Any]:
    ended = rotation.ended_at
    return asdict(rotation) | {
        "id": rotation.id.hex(),
        "started_at": rotation.started_at.isoformat(),
        "ended_at": ended.isoformat() if ended else None,
    }
