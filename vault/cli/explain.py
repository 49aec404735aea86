"""`piivault policy explain`: why a service may or may not do something, now or then."""

import asyncio
from pathlib import Path

import click
from piivault.officers import OfficersClient

from vault.cli.options import config_option, settings
from vault.cli.past import explain_request, rules_table
from vault.cli.tables import console
from vault.policy import Operation, Step


@click.command()
@click.argument("service", required=False)
@click.argument("purpose", required=False)
@click.argument("compartment", required=False)
@click.argument("fields", nargs=-1)
@click.option(
    "--operation",
    type=click.Choice([o.value for o in Operation]),
    default="reveal",
    show_default=True,
    help="What the service would do to the fields.",
)
@click.option(
    "--edition", type=int, default=0, help="Under which edition; the one in force by default."
)
@click.option("--request", help="A past request's id instead: for auditors, from the trail.")
@config_option
def explain(
    service: str | None,
    purpose: str | None,
    compartment: str | None,
    fields: tuple[str, ...],
    operation: str,
    edition: int,
    request: str | None,
    file: Path,
) -> None:
    """Say rule by rule why a service may or may not do something to fields.

    Asks control, as an officer. With --request it reads the trail, with the auditor's own
    configuration: what was decided then, and the rules of the edition of that time.
    """
    if request:
        if not asyncio.run(explain_request(settings(file), request, console())):
            raise click.ClickException("No trail that you may read holds this request id.")
        return
    if not (service and purpose and compartment and fields):
        raise click.UsageError("Name a service, a purpose, a compartment and fields; or --request.")
    with OfficersClient.from_env() as control:
        rules = control.explain(service, purpose, compartment, operation, fields, edition)
    steps = tuple(Step(rule.rule, rule.holds, rule.sentence) for rule in rules)
    console().print(rules_table(steps))
    click.echo("allowed" if all(step.holds for step in steps) else "denied")
