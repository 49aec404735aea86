"""What became of a past request: from the trail, with the rules of the edition of that time."""

from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from vault import app, config
from vault.cli.tables import table
from vault.policy import Edition, Form, Operation, Step, explain
from vault.sealed.v1 import sealed_pb2


async def explain_request(settings: config.Settings, request_id: str, console: Console) -> bool:
    """Print what each trail holds of a request, and why; return whether there was anything."""
    found = False
    async with app.audited(settings) as (editions, trails):
        for name, trail in trails.items():
            for event in await trail.of_request(request_id):
                found = True
                edition = editions.ledger.editions[event.edition]
                console.print(_said(name, event, edition))
                if steps := _rules(name, event, edition):
                    console.print(rules_table(steps))
    return found


def rules_table(steps: tuple[Step, ...]) -> Table:
    """Show rules, and whether each lets the request pass."""
    shown = table("rule", "passes", "why")
    for step in steps:
        shown.add_row(step.rule, "yes" if step.holds else "no", step.sentence)
    return shown


def _said(compartment: str, event: sealed_pb2.AuditEvent, edition: Edition) -> str:
    at = datetime.fromtimestamp(event.at / 1_000_000, UTC)
    outcome = sealed_pb2.Outcome.Name(event.outcome).removeprefix("OUTCOME_").lower()
    by_uid = edition.compartments[compartment].by_uid
    fields = ", ".join(
        by_uid[use.uid].name + (f" ({Form(use.form).word})" if use.form else "")
        for use in event.fields
        if use.uid in by_uid
    )
    purpose = f" for {event.purpose}" if event.purpose else ""
    recipient = f", disclosed to {event.recipient}" if event.recipient else ""
    return (
        f"{at:%Y-%m-%d %H:%M:%S} UTC, {compartment}, edition {event.edition}: {event.service} "
        f"asked to {event.operation} {fields or 'no field'}{purpose}{recipient}: "
        f"{outcome} {event.reason}".rstrip()
    )


def _rules(compartment: str, event: sealed_pb2.AuditEvent, edition: Edition) -> tuple[Step, ...]:
    """Return the edition's rules for a service's operation; nothing for what subjects do."""
    service = edition.services.get(event.service)
    by_uid = edition.compartments[compartment].by_uid
    fields = [by_uid[use.uid].name for use in event.fields if use.uid in by_uid]
    if service is None or event.operation not in set(Operation) or not fields:
        return ()
    operation = Operation(event.operation)
    return explain(edition, service, event.purpose, compartment, operation, fields)
