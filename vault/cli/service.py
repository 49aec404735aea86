"""`piivault service`: stop one now, and let it go on."""

import json
import secrets
from collections.abc import Iterable

import click
from piivault.officers import BlockedService, OfficersClient

from vault.cli.signing import SIGNS, needed_reason, report, signer
from vault.service.bodies import block_body, unblock_body
from vault.service.ledger import BLOCK, UNBLOCK


@click.group()
def service() -> None:
    """Stop a service now, or let it go on."""


@service.command(epilog=SIGNS)
@click.argument("name")
@click.option("--reason", required=True, help="Why, for those who read it later.")
@click.option("--yes", is_flag=True, help="Don't ask.")
def block(name: str, reason: str, yes: bool) -> None:
    """Refuse a service everywhere, within 2 seconds. One officer will do; lifting takes two."""
    officer = signer()
    if not yes:
        click.confirm(f"Refuse every call of {name} from now on?", abort=True)
    with OfficersClient.from_env() as control:
        body = block_body(name, reason, secrets.token_hex(16))
        report(officer.approve(control, BLOCK, body), f"block of {name}")


@service.command(epilog=SIGNS)
@click.argument("name")
@click.option("--reason", help="Why, for those who read it later.")
@click.option("--yes", is_flag=True, help="Don't ask.")
def unblock(name: str, reason: str | None, yes: bool) -> None:
    """Lift the block of a service. It takes two officers: the second one's reason isn't asked."""
    officer = signer()
    with OfficersClient.from_env() as control:
        body = _waiting(control, name) or _lifting(control, name, reason)
        click.echo(in_words(body, control.edition().blocked))
        if not yes:
            click.confirm("Lift this block?", abort=True)
        report(officer.approve(control, UNBLOCK, body), f"lifting the block of {name}")


def in_words(body: bytes, blocked: Iterable[BlockedService]) -> str:
    """Say which block an unblock lifts, and which of the service's it leaves."""
    said = json.loads(body)
    blocks = {b.statement.hex(): b for b in blocked}
    lifted = blocks.pop(said["block"], None)
    if lifted is None:
        return f"It lifts a block that is lifted already. Reason: {said['reason']}"
    words = f"It lifts the block of {lifted.service} ({lifted.reason}). Reason: {said['reason']}"
    left = "; ".join(b.reason for b in blocks.values() if b.service == lifted.service)
    if not left:
        return words
    return (
        f"{words}\nIt was blocked more than once: until that is lifted too, it stays so ({left})."
    )


def _waiting(control: OfficersClient, name: str) -> bytes | None:
    """Return an unblock of the service that waits for a second officer."""
    blocks = {b.statement.hex() for b in control.edition().blocked if b.service == name}
    for entry in control.pending():
        if entry.kind == UNBLOCK and json.loads(entry.body)["block"] in blocks:
            return entry.body
    return None


def _lifting(control: OfficersClient, name: str, reason: str | None) -> bytes:
    blocks = [b.statement for b in control.edition().blocked if b.service == name]
    if not blocks:
        raise click.ClickException(f"{name} isn't blocked.")
    return unblock_body(blocks[0], needed_reason(reason))
