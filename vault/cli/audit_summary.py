"""`piivault audit summary`: who asked for what, how often, and when."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from piivault.auditors import Alike, AuditClient, EventFilter
from rich.table import Table

from vault.cli.audit_options import ASKS, Length, Moment, filtering
from vault.cli.audit_picture import Window, bucket_for, picture
from vault.cli.tables import console, table

_OUTCOMES = ("allowed", "denied", "failed")


@click.command(epilog=ASKS)
@click.argument("compartment")
@click.option("--since", type=Moment(), default="1d", show_default=True, help="From when.")
@click.option("--until", type=Moment(), help="Until when; now by default.")
@click.option("--bucket", type=Length(), help="What a bar of the picture counts: 15m, 1h, 1d.")
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw reveals and denials over time into this SVG file.",
)
@filtering
def summary(
    compartment: str,
    since: datetime,
    until: datetime | None,
    bucket: int | None,
    output: Path | None,
    as_json: bool,
    **asked: Any,
) -> None:
    """Count what was asked of a compartment, by service, purpose, operation and outcome."""
    until = until or datetime.now(UTC)
    if until <= since:
        raise click.UsageError("--until must be after --since.")
    window = Window(since, until, bucket or bucket_for(until - since))
    with AuditClient.from_env() as trail:
        only = EventFilter(since, until, **asked)
        counted = trail.summary(compartment, only, bucket=window.bucket)
    if as_json:
        for alike in sorted(counted, key=lambda alike: tuple(asdict(alike).values())):
            said = asdict(alike) | {"start": alike.start.isoformat(), "count": counted[alike]}
            click.echo(json.dumps(said, ensure_ascii=False))
    else:
        console().print(_table(counted))
    if output is not None:
        try:
            output.write_text(picture(compartment, window, counted), encoding="utf-8")
        except ValueError as e:
            raise click.UsageError(f"--bucket: {e}.") from None
        click.echo(f"drawn: {output}", err=True)


def _table(counted: Mapping[Alike, int]) -> Table:
    rows: Counter[tuple[str, str, str, str]] = Counter()
    for alike, count in counted.items():
        rows[alike.service, alike.purpose, alike.operation, alike.outcome] += count
    shown = table("service", "purpose", "operation", *_OUTCOMES, right=_OUTCOMES)
    whole = Counter[tuple[str, str, str]]()
    for (*who, _), count in rows.items():
        whole[who[0], who[1], who[2]] += count
    for service, purpose, operation in sorted(whole, key=lambda who: (-whole[who], who)):
        found = (rows[service, purpose, operation, outcome] for outcome in _OUTCOMES)
        shown.add_row(service, purpose or "-", operation, *(f"{n:,}" if n else "" for n in found))
    return shown
