"""`piivault audit list` and `piivault audit tail`: events of one compartment."""

from collections.abc import Callable, Iterable
from contextlib import closing
from datetime import datetime
from itertools import islice
from typing import Any

import click
from piivault.auditors import AuditClient, AuditEvent, EventFilter

from vault.cli.audit_options import ASKS, Moment, as_json, as_line, filtering


@click.command(name="list", epilog=ASKS)
@click.argument("compartment")
@click.option("--since", type=Moment(), help="From when: 2h (ago), or 2027-01-31T12:00.")
@click.option("--until", type=Moment(), help="Until when.")
@click.option("--most", type=click.IntRange(min=1), default=100, show_default=True)
@filtering
def list_(
    compartment: str,
    since: datetime | None,
    until: datetime | None,
    most: int,
    as_json: bool,
    **asked: Any,
) -> None:
    """Print events of a compartment, the newest first."""
    if since and until and until <= since:
        raise click.UsageError("--until must be after --since.")
    only = EventFilter(since, until, **asked)
    with (
        AuditClient.from_env() as trail,
        closing(trail.events(compartment, only, page_size=min(most, 500))) as events,
    ):
        _print(islice(events, most), _writer(as_json))


@click.command(epilog=ASKS)
@click.argument("compartment")
@filtering
def tail(compartment: str, as_json: bool, **asked: Any) -> None:
    """Print events of a compartment as they are written, until Ctrl-C."""
    with (
        AuditClient.from_env() as trail,
        closing(trail.tail(compartment, EventFilter(**asked))) as events,
    ):
        _print(events, _writer(as_json))


def _print(events: Iterable[AuditEvent], write: Callable[[AuditEvent], str]) -> None:
    for event in events:
        click.echo(write(event))


def _writer(is_json: bool) -> Callable[[AuditEvent], str]:
    return as_json if is_json else as_line
