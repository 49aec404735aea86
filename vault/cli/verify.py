"""`piivault verify`: whether what a compartment holds is whole, and what its trail says."""

import asyncio
import json
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from vault import app, config
from vault.cli.options import config_option, settings
from vault.cli.progress import bars
from vault.service.trail import AuditedTrail
from vault.service.verify import Report, verify_compartment
from vault.store.backup import Progress

_NO_TRAIL = (
    "Rollbacks were not looked for, nor changes that nobody recorded: no trail was read. A worker "
    "can't read it; give the auditor's configuration with --auditor."
)


@click.command()
@config_option
@click.option(
    "--auditor",
    "auditor_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The auditor's configuration: with it, rows are held against the audit trail.",
)
@click.option("--compartment", help="This one alone; else all of the configuration.")
@click.option("--sample", type=click.IntRange(min=1), help="About so many records, not all.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def verify(
    file: Path,
    auditor_file: Path | None,
    compartment: str | None,
    sample: int | None,
    as_json: bool,
) -> None:
    """Open every envelope; check index rows; hold each row against the audit trail.

    Finds damage, and what somebody put back: a whole old row, an erased record. Shows no value and
    no pseudonym, and changes nothing. The compartment may be served meanwhile. Ends with 1 if
    anything is wrong.
    """
    read = settings(file)
    audited = settings(auditor_file) if auditor_file else read
    names = _names(read, compartment)
    if auditor_file and audited.auditor is None:
        raise click.ClickException(f"{auditor_file} has no [auditor]: it isn't the auditor's.")
    with bars() as progress:
        reports = [asyncio.run(_verify(read, audited, name, sample, progress)) for name in names]
    if as_json:
        click.echo(json.dumps({"compartments": [report.to_tree() for report in reports]}, indent=2))
    else:
        for report in reports:
            show(report, Console(soft_wrap=True))
    if not all(report.is_clean for report in reports):
        sys.exit(1)


def _names(read: config.Settings, wanted: str | None) -> list[str]:
    known = ", ".join(read.compartments)
    if not read.compartments:
        raise click.ClickException("The configuration has no compartments: give that of a worker.")
    if wanted is not None and wanted not in read.compartments:
        raise click.ClickException(
            f"The configuration has no compartment {wanted}. It has {known}."
        )
    return list(read.compartments) if wanted is None else [wanted]


async def _verify(
    read: config.Settings,
    audited: config.Settings,
    name: str,
    sample: int | None,
    progress: Progress,
) -> Report:
    def named(what: str, done: int, total: int) -> None:
        progress(f"{name}: {what}", done, total)

    async with AsyncExitStack() as stack:
        served, editions = await stack.enter_async_context(app.opened(read, name))
        trails: Mapping[str, AuditedTrail] = {}
        if alone := _auditing(audited, name):
            _, trails = await stack.enter_async_context(app.audited(alone))
        trail = trails.get(name)
        return await verify_compartment(served, editions, trail, sample=sample, progress=named)


def _auditing(audited: config.Settings, name: str) -> config.Settings | None:
    """Return the auditor's settings for one compartment alone, or None if there are none."""
    if audited.auditor is None or name not in audited.auditor.compartments:
        return None
    one = {name: audited.auditor.compartments[name]}
    auditor = audited.auditor.model_copy(update={"compartments": one})
    return audited.model_copy(update={"auditor": auditor})


def show(report: Report, console: Console) -> None:
    """Print a report for people."""
    console.print(
        f"{report.compartment}: looked at {report.records:,} of {report.total:,} records: "
        f"{report.opened:,} opened, with {report.fields:,} fields; {report.data_keys:,} data keys, "
        f"{report.index_rows:,} index rows."
    )
    if report.trail:
        console.print(f"{report.compared:,} rows were held against the audit trail.")
    else:
        console.print(_NO_TRAIL)
    if report.not_covered:
        console.print(
            f"{report.not_covered:,} rows are not covered: they changed last before the trail "
            "begins, whose older part was cut off, or in events that can't be read."
        )
    for reason, count in report.unopened.items():
        console.print(f"{count:,} keys were not to be had ({reason}): what they open wasn't seen.")
    if report.is_clean:
        console.print("Nothing is wrong with what was looked at.")
        return
    kinds = Table(title=f"{report.compartment}: wrong", title_justify="left")
    for column in ("what", "how many", "meaning"):
        kinds.add_column(column, overflow="fold")
    for kind, count in sorted(report.counts.items()):
        kinds.add_row(kind.value, f"{count:,}", kind.sentence)
    console.print(kinds)
    for finding in report.findings:
        field = f" ({finding.field})" if finding.field else ""
        at = f"{finding.table}, {finding.column} {finding.begins}{field}"
        console.print(f"{finding.kind.value}: {at}", highlight=False)
    if sum(report.counts.values()) > len(report.findings):
        console.print(f"The first {len(report.findings):,} are listed; all are counted.")
