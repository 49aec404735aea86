"""What verification found, in words or as JSON lines."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import click

from vault.audit.claims import Mark
from vault.audit.faults import Fault, Faults
from vault.audit.signed import CONTROL
from vault.audit.verification import Verdict
from vault.service.verify_chains import ControlVerdict, NoTrailError

_SHOWN = 20  # faults in words


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


def tell_control(found: ControlVerdict) -> bool:
    """Say what was found of the control chain; return whether all holds."""
    wrong = found.faults.count
    click.echo(
        f"control: {found.entries:,} entries, {found.checkpoints:,} checkpoints shipped: "
        + (f"{wrong:,} faults" if wrong else "all hold")
    )
    for fault in found.faults:
        click.echo(f"  {fault}")
    return not wrong


def tell_none(name: str, error: NoTrailError, holds: bool) -> bool:
    """Say why there is no trail; return whether that is as it may be."""
    click.echo(f"{name}: {error}")
    return holds


def as_json(name: str, verdict: Verdict) -> bool:
    """Print a line of JSON for `tell`."""
    faults = verdict.faults
    return _print(
        name,
        verdict.holds,
        events=verdict.events,
        writers=verdict.writers,
        checkpoints=verdict.checkpoints,
        shipped=verdict.shipped,
        uncovered=verdict.uncovered,
        newest=_mark_as_json(verdict.newest),
        trusted=_mark_as_json(verdict.trusted),
        faults=faults.count,
        first=_fault_as_json(faults.first) if faults.first else None,
        found=[_fault_as_json(fault) for fault in faults],
        accepted=len(faults.known),
    )


def control_as_json(found: ControlVerdict) -> bool:
    """Print a line of JSON for `tell_control`."""
    return _print(
        CONTROL,
        not found.faults.count,
        entries=found.entries,
        shipped=found.checkpoints,
        faults=found.faults.count,
        found=[_fault_as_json(fault) for fault in found.faults],
    )


def none_as_json(name: str, error: NoTrailError, holds: bool) -> bool:
    """Print a line of JSON for `tell_none`."""
    return _print(name, holds, what=str(error))


def _print(name: str, holds: bool, **said: object) -> bool:
    click.echo(json.dumps({"trail": name, "holds": holds, **said}))
    return holds


def _mark_as_json(mark: Mark | None) -> dict[str, object] | None:
    if mark is None:
        return None
    at = datetime.fromtimestamp(mark.at / 1_000_000, UTC).isoformat()
    return {"checkpoint": mark.number, "at": at, "events": mark.events}


def _fault_as_json(fault: Fault) -> dict[str, object]:
    return {"writer": fault.writer.hex(), "sequence": fault.sequence, "what": fault.what}


def _faults(faults: Faults, first: Fault) -> Iterator[str]:
    yield f"The first bad event: {first}" if first.writer else f"First: {first}"
    others = [fault for fault in faults if fault != first][: _SHOWN - 1]
    yield from map(str, others)
    if left := faults.count - len(others) - 1:
        yield f"and {left:,} more"


def _mark(mark: Mark) -> str:
    at = datetime.fromtimestamp(mark.at / 1_000_000, UTC)
    return f"checkpoint {mark.number} of {at:%Y-%m-%d %H:%M:%S} UTC"


@dataclass(frozen=True, slots=True)
class Say:
    """How it is said; each returns whether all holds."""

    verdict: Callable[[str, Verdict], bool]
    control: Callable[[ControlVerdict], bool]
    none: Callable[[str, NoTrailError, bool], bool]


WORDS = Say(tell, tell_control, tell_none)
JSON = Say(as_json, control_as_json, none_as_json)
