"""`piivault history`: what owners touched, and how two officers take it back."""

import json
import secrets
from collections.abc import Iterable

import click
from piivault.officers import Approval, OfficersClient, Touch

from vault.cli.signing import SIGNS, needed_reason, report, signer
from vault.cli.tables import console, table
from vault.policy import compile_edition
from vault.service.bodies import reset_body
from vault.service.ledger import RESET


@click.group()
def history() -> None:
    """See which compartments owners touched, and take it back."""


@history.command()
def show() -> None:
    """List what owners ever touched: it counts with whatever a new edition grants them."""
    with OfficersClient.from_env() as control:
        listed = control.touches()
    shown = table("owner", "compartment")
    for owner, compartment in sorted(map(_names, listed.counting)):
        shown.add_row(owner, compartment)
    if listed.counting:
        console().print(shown)
    else:
        click.echo("No owner has touched anything.")
    for reset in listed.resets:
        owner, compartment = _names(reset.touch)
        click.echo(f"reset: {owner} touched {compartment} ({reset.reason})")


@history.command(epilog=SIGNS)
@click.argument("owner")
@click.argument("compartment")
@click.option("--reason", help="Why, for those who read it later.")
@click.option("--yes", is_flag=True, help="Don't ask.")
def reset(owner: str, compartment: str, reason: str | None, yes: bool) -> None:
    """Have it count no more that OWNER touched COMPARTMENT. It takes two officers.

    Names them as `piivault history show` does. Of an approval that waits, the reason stands: the
    second officer's isn't asked.
    """
    officer = signer()
    with OfficersClient.from_env() as control:
        listed = control.touches()
        found = [t for t in listed.counting if _names(t) == (owner, compartment)]
        if not found:
            if any(_names(r.touch) == (owner, compartment) for r in listed.resets):
                click.echo(f"It doesn't count that {owner} touched {compartment}: it was reset.")
                return
            raise click.ClickException(
                f"{owner} never touched {compartment}. See `piivault history show`."
            )
        # One that an edition names, before one whose id is spelt like a name.
        touch = max(found, key=lambda t: (bool(t.owner), bool(t.compartment)))
        for other in (t for t in found if t is not touch):
            click.echo(f"Not this one: {other.owner_id} touched {other.compartment_uuid.hex()}.")
        body = _waiting(control.pending(), touch) or reset_body(
            touch.owner_id, touch.compartment_uuid, needed_reason(reason), secrets.token_hex(16)
        )
        click.echo(in_words(body, [touch]))
        if _is_granted(control, touch):
            click.echo(
                f"An edition still grants {compartment} to {owner}: what they touch next counts "
                "again. Publish one without these grants first."
            )
        if not yes:
            click.confirm("Approve this reset? What people saw, they remember.", abort=True)
        report(officer.approve(control, RESET, body), f"reset of {owner} in {compartment}")


def in_words(body: bytes, touches: Iterable[Touch]) -> str:
    """Say what a reset would do, in the names of `touches`."""
    said = json.loads(body)
    ids = said["owner"], bytes.fromhex(said["compartment"])
    names = {(t.owner_id, t.compartment_uuid): _names(t) for t in touches}
    owner, compartment = names.get(ids, (said["owner"], said["compartment"]))
    return f"It counts no more that {owner} touched {compartment}. Reason: {said['reason']}"


def _names(touch: Touch) -> tuple[str, str]:
    """Return owner and compartment as people call them, or by their ids."""
    return touch.owner or touch.owner_id, touch.compartment or touch.compartment_uuid.hex()


def _waiting(pending: Iterable[Approval], touch: Touch) -> bytes | None:
    """Return a reset of this touch that waits for a second officer."""
    sought = {"owner": touch.owner_id, "compartment": touch.compartment_uuid.hex()}
    for entry in pending:
        if entry.kind == RESET and sought.items() <= json.loads(entry.body).items():
            return entry.body
    return None


def _is_granted(control: OfficersClient, touch: Touch) -> bool:
    """Tell whether an edition that is in force, or will be, grants it."""
    now = control.edition()
    published = (now, control.edition(now.newest))
    return any(
        edition.services[grant.service].owner_id == touch.owner_id
        and edition.compartments[grant.compartment].uuid == touch.compartment_uuid
        for edition in (compile_edition(p.document) for p in published)
        for grant in edition.grants
    )
