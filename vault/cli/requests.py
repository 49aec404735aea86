"""`piivault requests`: what subjects asked for under the law, and by when they must have it."""

import json
from dataclasses import asdict
from typing import Any

import click
from piivault import SubjectRequest
from piivault.officers import OfficersClient

from vault.cli.tables import console, table
from vault.policy import compile_edition


@click.command()
@click.argument("compartments", nargs=-1)
@click.option("--closed", is_flag=True, help="Those done or refused in the last 90 days too.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def requests(compartments: tuple[str, ...], closed: bool, as_json: bool) -> None:
    """List subjects' open requests, the first due in front: in all COMPARTMENTS, or in some.

    Asks a worker of each compartment, as an officer. It says nothing of whose they are: nobody can.
    Ends with 1 if any is overdue.
    """
    with OfficersClient.from_env() as officers:
        names = compartments or tuple(compile_edition(officers.edition().document).compartments)
        found = [(name, its) for name in names for its in officers.requests(name, closed=closed)]
    found.sort(key=lambda pair: (pair[1].due, pair[0]))
    if as_json:
        click.echo(json.dumps([_tree(*pair) for pair in found], indent=2))
    else:
        _show(found)
    if any(its.overdue for _, its in found):
        raise click.exceptions.Exit(1)


def _show(found: list[tuple[str, SubjectRequest]]) -> None:
    columns = ("due", "compartment", "kind", "state", "opened", "id")
    shown = table(*columns, title="Requests of subjects")
    for name, its in found:
        state = "OVERDUE" if its.overdue else its.state
        shown.add_row(
            its.due.isoformat(),
            name,
            its.kind,
            f"{state}: {its.reason}" if its.reason else state,
            its.opened.isoformat(),
            its.id.hex()[:8],
        )
    console().print(shown)
    overdue = sum(its.overdue for _, its in found)
    still_open = sum(its.state == "open" for _, its in found)
    click.echo(f"{still_open} open, {overdue} of them overdue.")


def _tree(name: str, its: SubjectRequest) -> dict[str, Any]:
    return asdict(its) | {
        "compartment": name,
        "id": its.id.hex(),
        "opened": its.opened.isoformat(),
        "due": its.due.isoformat(),
        "closed": its.closed.isoformat() if its.closed else None,
    }
