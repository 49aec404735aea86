"""`piivault keys destroy`: a version of a key that something still needs, for ever."""

import json
import secrets

import click
from piivault import errors
from piivault.keys import Keys, KeyVersion
from piivault.officers import OfficersClient
from piivault.rotations import Destruction

from vault.cli.keys import asking
from vault.cli.signing import SIGNS, report, signer
from vault.service.bodies import destroy_body
from vault.service.ledger import DESTROY


@click.command(epilog=SIGNS)
@click.argument("compartment")
@click.option("--key", "text", metavar="KIND:VERSION", required=True, help="Such as kek:1.")
@click.option("--reason", help="Why, for those who read it later; of the first officer.")
@click.option("--yes", is_flag=True, help="Don't ask.")
def destroy(compartment: str, text: str, reason: str | None, yes: bool) -> None:
    """Destroy a version of a key for ever, with all that it alone opens. Takes two officers.

    Says first what becomes unreadable. Each officer runs it, or the second one `keys approve`; it
    is carried out by whoever runs it then, if what is lost is still just what the two signed.
    """
    key = _parse(text)
    with asking(compartment, "Whether it was destroyed isn't known.") as ring:
        found = ring.destroy(key)
        if found.destroyed:
            click.echo(f"{key} of {compartment} is destroyed already. Nothing was changed.")
            return
        click.echo(f"{key} of {compartment}: {found.consequence}\ndigest {found.digest.hex()}")
        if not yes:
            click.confirm(f"Destroy {key} of {compartment} for ever?", abort=True)
        if _carried_out(ring, key, found):
            return
        officer = signer()
        with OfficersClient.from_env() as control:
            body = _waiting(control, found) or _new(compartment, found, reason)
            approval = officer.approve(control, DESTROY, body)
        report(approval, f"destroying {key} of {compartment}")
        if approval.effective and not _carried_out(ring, key, found):
            raise click.ClickException(
                "What is lost changed since it was signed: nothing was destroyed. Begin again."
            )


def in_words(body: bytes) -> str:
    """Say what the destruction of a version is that waits for an officer."""
    said = json.loads(body)
    return (
        f"It destroys a version of a key of {said['compartment']} for ever. "
        f"Reason: {said['reason']}\n"
        f"What is lost has the digest {said['digest']}.\n"
        f"`piivault keys destroy {said['compartment']} --key KIND:VERSION` says what that is, and "
        "carries it out once two officers approved."
    )


def _carried_out(ring: Keys, key: KeyVersion, found: Destruction) -> bool:
    done = ring.destroy(key, found.digest)
    if done.destroyed:
        click.echo(
            f"Destroyed: {key} of {ring.compartment}. Within {done.bound_seconds} s no process "
            "has it in memory. Backups of the keys from before still hold it, until an epoch is "
            "closed."
        )
    return done.destroyed


def _waiting(control: OfficersClient, found: Destruction) -> bytes | None:
    """Return the entry that waits for a second officer, if one does."""
    for entry in control.pending():
        if entry.kind == DESTROY and json.loads(entry.body)["digest"] == found.digest.hex():
            return entry.body
    return None


def _new(compartment: str, found: Destruction, reason: str | None) -> bytes:
    if not reason:
        raise click.UsageError("Say why: --reason.")
    return destroy_body(compartment, found.digest, reason, secrets.token_hex(16))


def _parse(text: str) -> KeyVersion:
    try:
        return KeyVersion.parse(text)
    except errors.InvalidRequest as e:
        raise click.UsageError(e.message) from None
