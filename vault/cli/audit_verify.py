"""`piivault audit verify`: hold trails against their checkpoints, with public keys alone."""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from uuid import UUID

import click

from vault import config
from vault.audit.signed import CONTROL
from vault.cli.audit_verdict import JSON, WORDS, Say
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
from vault.cli.options import config_option
from vault.cli.owner import connect_as, owner_options
from vault.cli.progress import bars
from vault.service.verify_chains import (
    Keys,
    NoTrailError,
    ShippedFile,
    verify_control,
    verify_database,
    verify_export,
)
from vault.store.control import ControlChain


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
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line for each trail.")
def verify(
    file: Path,
    compartment: str | None,
    export: Path | None,
    shipped: Path | None,
    public_keys: Sequence[str],
    owner: str | None,
    owner_password_file: Path | None,
    as_json: bool,
) -> None:
    """Check chains, gaps, writers and checkpoints; name the first bad event and what holds.

    Public keys are enough: no key server is asked, and nothing is opened. What was cut off at the
    end, checkpoints included, is found by those that were shipped. Ends with 1 if anything is
    wrong.
    """
    if export and (compartment or owner):
        raise click.UsageError("--export is verified alone: without --compartment and --owner.")
    read = configuration(file, needed=export is None)
    known, say = keys_for(public_keys, read), JSON if as_json else WORDS
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
        holds = say.verdict(header.name, verdict)
        if not verdict.shipped and not as_json:
            click.echo(
                f"  It says that it is of {UUID(bytes=header.compartment)}. Nothing signed shows "
                "that: compare it with the compartment's `uuid` in the policy."
            )
    else:
        assert read is not None  # noqa: S101 -- needed where there is no export
        check = _Check(read, sent, known, say, owner, owner_password_file)
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
        say: Say,
        owner: str | None,
        password_file: Path | None,
    ) -> None:
        self._read, self._shipped, self._keys, self._say = read, shipped, keys, say
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
            # The auditor's configuration names what is served.
            lost = e.lost or self._read.auditor or self._was_shipped(name, uuid)
            return self._say.none(name, e, not lost)
        finally:
            await database.close()
        return self._say.verdict(name, verdict)

    def _was_shipped(self, name: str, uuid: bytes | None) -> bool:
        return bool(self._shipped and self._shipped.is_about(name, uuid, self._keys))

    async def control(self) -> bool:
        database, _ = connect_as(self._read.control, *self._login)
        try:
            found = await verify_control(ControlChain(database), self._shipped, self._keys)
        finally:
            await database.close()
        return self._say.control(found)
