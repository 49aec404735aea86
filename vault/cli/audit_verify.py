"""`piivault audit verify`: hold trails against their checkpoints, with public keys alone."""

import asyncio
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import click

from vault import config
from vault.audit.claims import Mark
from vault.audit.faults import Fault, Faults
from vault.audit.verification import Verdict
from vault.cli.auditing import (
    checkpoints_option,
    configuration,
    keys_for,
    public_key_option,
    say_damaged,
    section_of,
    sections_of,
    shipped_for,
    uuids_of,
)
from vault.cli.options import config_option, connect_as, owner_options
from vault.cli.progress import bars
from vault.service.verify_chains import (
    ControlVerdict,
    Keys,
    NoTrailError,
    ShippedFile,
    verify_control,
    verify_database,
    verify_export,
)
from vault.store.control import ControlChain

CONTROL = "control"
_SHOWN = 20  # faults in words


@click.command()
@config_option
@click.option("--compartment", help='Only this one, or "control": by default all, and control.')
@click.option(
    "--export",
    "export",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A sealed export instead of a database; no configuration is needed.",
)
@checkpoints_option
@public_key_option
@owner_options
def verify(
    file: Path,
    compartment: str | None,
    export: Path | None,
    shipped: Path | None,
    public_keys: Sequence[str],
    owner: str | None,
    owner_password_file: Path | None,
) -> None:
    """Check chains, gaps, writers and checkpoints; name the first bad event and what holds.

    Public keys are enough: no key server is asked, and nothing is opened. What was cut off at the
    end, checkpoints included, is found by those that were shipped. Ends with 1 if anything is
    wrong.
    """
    if export and (compartment or owner):
        raise click.UsageError("--export is verified alone: without --compartment and --owner.")
    read = configuration(file, needed=export is None)
    known = keys_for(public_keys, read)
    sent = shipped_for(shipped, read)
    if sent is None:
        click.echo(
            "No shipped checkpoints: an end that was cut off together with its checkpoints can't "
            "be noticed. Give --checkpoints.",
            err=True,
        )
    say_damaged(sent)
    if export is not None:
        with export.open("rb") as lines, bars() as progress:
            header, verdict = verify_export(lines, sent, known, progress)
        holds = tell(header.name, verdict)
        if not verdict.shipped:
            click.echo(
                f"  It says that it is of {UUID(bytes=header.compartment)}. Nothing signed shows "
                "that: compare it with the compartment's `uuid` in the policy."
            )
    else:
        assert read is not None  # noqa: S101 -- needed where there is no export
        check = _Check(read, sent, known, owner, owner_password_file)
        holds = asyncio.run(check.all(compartment))
    if not holds:
        sys.exit(1)


class _Check:
    """Verifies databases of a configuration."""

    def __init__(
        self,
        read: config.Settings,
        shipped: ShippedFile | None,
        keys: Keys,
        owner: str | None,
        password_file: Path | None,
    ) -> None:
        self._read, self._shipped, self._keys = read, shipped, keys
        self._login = (owner, password_file)
        self._uuids: Mapping[str, bytes] = {}

    async def all(self, only: str | None) -> bool:
        """Verify one, or all; return whether they hold."""
        if only == CONTROL:
            return await self.control()
        names = [only] if only else list(sections_of(self._read))
        await self._look_up()
        held = [await self.compartment(name) for name in names]
        if not only:
            held.append(await self.control())
        return all(held)

    async def _look_up(self) -> None:
        database, _ = connect_as(self._read.control, *self._login)
        try:
            self._uuids = await uuids_of(self._read, database)
        finally:
            await database.close()

    async def compartment(self, name: str) -> bool:
        uuid = self._uuids.get(name)
        database, _ = connect_as(section_of(self._read, name), *self._login)
        try:
            with bars() as progress:
                verdict = await verify_database(database, self._shipped, self._keys, progress, uuid)
        except NoTrailError as e:
            click.echo(f"{name}: {e}")
            # The auditor's configuration names what is served.
            return not (e.lost or self._read.auditor or self._was_shipped(name, uuid))
        finally:
            await database.close()
        return tell(name, verdict)

    def _was_shipped(self, name: str, uuid: bytes | None) -> bool:
        return bool(self._shipped and self._shipped.is_about(name, uuid, self._keys))

    async def control(self) -> bool:
        database, _ = connect_as(self._read.control, *self._login)
        try:
            found = await verify_control(ControlChain(database), self._shipped, self._keys)
        finally:
            await database.close()
        return _tell_control(found)


def tell(name: str, verdict: Verdict) -> bool:
    """Say what was found; return whether all holds."""
    click.echo(
        f"{name}: {verdict.events:,} events of {verdict.writers:,} writers, "
        f"{verdict.checkpoints:,} checkpoints stored, {verdict.shipped:,} shipped: "
        + ("all hold" if verdict.holds else f"{verdict.faults.count:,} faults")
    )
    if known := verdict.faults.known:
        click.echo(f"  {len(known):,} faults were accepted earlier. The first: {known[0]}")
    if verdict.newest is None:
        click.echo("  There is no checkpoint yet: nothing shows that these are all events.")
    elif verdict.uncovered:
        click.echo(
            f"  {verdict.uncovered:,} of them came after {_mark(verdict.newest)}: nothing shows "
            "yet that they are all."
        )
    if verdict.faults.first is not None:
        for line in _faults(verdict.faults, verdict.faults.first):
            click.echo(f"  {line}")
        sound = verdict.trusted
        click.echo(
            f"  To be trusted: the {sound.events:,} events up to {_mark(sound)}."
            if sound
            else "  To be trusted: nothing. No checkpoint holds for all events that it covers."
        )
    return verdict.holds


def _tell_control(found: ControlVerdict) -> bool:
    wrong = found.faults.count
    click.echo(
        f"control: {found.entries:,} entries, {found.checkpoints:,} checkpoints shipped: "
        + (f"{wrong:,} faults" if wrong else "all hold")
    )
    for fault in found.faults:
        click.echo(f"  {fault}")
    return not wrong


def _faults(faults: Faults, first: Fault) -> Iterator[str]:
    yield f"The first bad event: {first}" if first.writer else f"First: {first}"
    others = [fault for fault in faults if fault != first][: _SHOWN - 1]
    yield from map(str, others)
    if left := faults.count - len(others) - 1:
        yield f"and {left:,} more"


def _mark(mark: Mark) -> str:
    at = datetime.fromtimestamp(mark.at / 1_000_000, UTC)
    return f"checkpoint {mark.number} of {at:%Y-%m-%d %H:%M:%S} UTC"
