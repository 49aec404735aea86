"""`piivault policy`: look at editions, and publish them."""

import json
from pathlib import Path

import click
from piivault.officers import OfficersClient

from vault.cli import history, keys_destroy, service
from vault.cli.loading import Loading
from vault.cli.options import read_edition
from vault.cli.signing import SIGNS, parse_signatures, report, signer
from vault.policy import Edition, compile_edition, diff, edition_schema, graph
from vault.service.ledger import DESTROY, EDITION, RESET, UNBLOCK, statement

_WHERE = {
    "due": "vault.cli.due:due",
    "explain": "vault.cli.explain:explain",
    "first": "vault.cli.first:first",
}
_FILE = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))


@click.group(cls=Loading, where=_WHERE)
def policy() -> None:
    """Look at editions of the policy, and publish them."""


@policy.command()
@_FILE
def check(file: Path) -> None:
    """Read an edition and say what is wrong with it, all faults at once.

    Looks at the file alone. Publishing also looks at the editions before it, and at what owners
    touched under them.
    """
    edition = read_edition(file)
    click.echo(
        f"{file} holds by itself: edition {edition.number}, "
        f"{len(edition.compartments)} compartments, {len(edition.purposes)} purposes, "
        f"{len(edition.services)} services. Nobody would hold what must not be joined."
    )
    click.echo(
        "Publishing also looks at the editions before it, and at what owners touched under them."
    )
    click.echo(f"digest {edition.digest.hex()}")


@policy.command()
@click.argument("number", type=int, default=0)
def show(number: int) -> None:
    """Print an edition as it was published; the one in force if no number is given."""
    with OfficersClient.from_env() as control:
        found = control.edition(number)
    click.echo(found.document, nl=False)
    click.echo(f"# digest {found.digest.hex()}", err=True)
    for blocked in found.blocked:
        click.echo(f"# blocked: {blocked.service} ({blocked.reason})", err=True)


@policy.command(name="diff")
@_FILE
@click.option(
    "--against",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Another file to compare with, instead of the newest published edition.",
)
def diff_(file: Path, against: Path | None) -> None:
    """Say in plain sentences what an edition changes, for whom, and whose consent it outgrows.

    Compares with the newest published edition, or with another file.
    """
    after = read_edition(file)
    if against:
        _print_changes(read_edition(against), after)
        return
    with OfficersClient.from_env() as control:
        _print_changes(_newest(control), after)


@policy.command(epilog=SIGNS)
@_FILE
def sign(file: Path) -> None:
    """Sign an edition and print the signature, to be handed in with `publish --signature`."""
    officer = signer()
    read_edition(file)
    signature = officer.sign(statement(EDITION, file.read_bytes()))
    click.echo(f"{officer.officer}:{signature.hex()}")


@policy.command(epilog=SIGNS)
@_FILE
@click.option("--signature", "given", multiple=True, help="OFFICER:HEX, as `sign` printed it.")
@click.option("--yes", is_flag=True, help="Don't ask.")
def publish(file: Path, given: tuple[str, ...], yes: bool) -> None:
    """Publish an edition: sign it, or hand in signatures.

    One officer is enough, but for a new joinable pair, a new subject-facing service, and one that
    no longer has to show that its subjects are there: these take two.
    """
    edition, body = read_edition(file), file.read_bytes()
    signatures = parse_signatures(given)
    officer = None if signatures else signer()
    with OfficersClient.from_env() as control:
        _print_changes(_newest(control), edition)
        if not yes:
            click.confirm(f"Publish edition {edition.number}?", abort=True)
        if officer:
            signatures = {officer.officer: officer.sign(statement(EDITION, body))}
        for name, signature in signatures.items():
            done = control.approve(EDITION, body, name, signature)
    report(done, f"edition {edition.number}")


@policy.command(epilog=SIGNS)
@click.option("--yes", is_flag=True, help="Don't ask.")
def approve(yes: bool) -> None:
    """Go through what waits for more officers, and approve it."""
    officer = signer()
    with OfficersClient.from_env() as control:
        waiting = [e for e in control.pending() if officer.officer not in e.approved_by]
        for entry in waiting:
            what = f"{entry.kind} {statement(entry.kind, entry.body).hex()}"
            click.echo(what)
            if entry.kind == EDITION:
                _print_changes(_newest(control), compile_edition(entry.body.decode()))
            elif entry.kind == RESET:
                click.echo(history.in_words(entry.body, control.touches().counting))
            elif entry.kind == UNBLOCK:
                click.echo(service.in_words(entry.body, control.edition().blocked))
            elif entry.kind == DESTROY:
                click.echo(keys_destroy.in_words(entry.body))
            else:
                click.echo(entry.body.decode(errors="replace"))
            if yes or click.confirm(f"Approve this {entry.kind}?"):
                report(officer.approve(control, entry.kind, entry.body), what)
    if not waiting:
        click.echo("Nothing waits for you.")


@policy.command(name="graph")
@_FILE
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The SVG file to write.",
)
def graph_(file: Path, output: Path) -> None:
    """Draw an edition as an SVG: compartments, walls, purposes, services."""
    output.write_text(graph(read_edition(file)), encoding="utf-8")
    click.echo(f"drawn: {output}")


@policy.command()
def schema() -> None:
    """Print the JSON Schema of editions, for editors."""
    click.echo(json.dumps(edition_schema(), indent=2, ensure_ascii=False))


def _newest(control: OfficersClient) -> Edition:
    return compile_edition(control.edition(control.edition().newest).document)


def _print_changes(before: Edition, after: Edition) -> None:
    changes = diff(before, after)
    click.echo(f"Edition {after.number} against edition {before.number}:")
    for change in changes:
        click.echo(f"  - {change.sentence}")
    if not changes:
        click.echo("  nothing changes for anybody.")
