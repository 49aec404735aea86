"""What `piivault audit list`, `tail` and `summary` ask for alike, and how they say it."""

import json
import re
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import click
from piivault.auditors import AuditEvent

_AGO = re.compile(r"([0-9]{1,6})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

ASKS = (
    "Asks the auditor, as an officer: PIIVAULT_ADDRESS or PIIVAULT_AUDITOR_ADDRESS says where it "
    "is, PIIVAULT_CA, PIIVAULT_CERTIFICATE and PIIVAULT_PRIVATE_KEY who asks."
)


class Moment(click.ParamType[Any]):
    """A moment: how long ago (90s, 30m, 2h, 7d), or ISO 8601, in UTC unless it says otherwise."""

    name = "moment"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Read it."""
        if isinstance(value, datetime):
            return value
        try:
            if ago := _AGO.fullmatch(value):
                return datetime.now(UTC) - timedelta(seconds=int(ago[1]) * _SECONDS[ago[2]])
            moment = datetime.fromisoformat(value)
        except (ValueError, OverflowError):
            self.fail("a moment is written 2h (ago) or 2027-01-31T12:00.", param, ctx)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class Length(click.ParamType[Any]):
    """A length of time in seconds: 90s, 30m, 2h, 7d."""

    name = "length"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it."""
        if isinstance(value, int):
            return value
        length = _AGO.fullmatch(value)
        seconds = int(length[1]) * _SECONDS[length[2]] if length else 0
        if not seconds:
            self.fail("a length is written 15m, 2h or 7d.", param, ctx)
        return seconds


_OPTIONS = (
    click.option("--service", default="", help="Only this service's."),
    click.option("--purpose", default="", help="Only for this purpose."),
    click.option("--operation", default="", help="Only reveal, put, find, erase …"),
    click.option("--outcome", type=click.Choice(["allowed", "denied", "failed"])),
    click.option("--reason", default="", help="Only with this reason, such as NOT_GRANTED."),
    click.option("--field", "fields", multiple=True, help="Only what asked for this field."),
    click.option("--request", "request_id", default="", help="Only of this request id."),
    click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line."),
)


def filtering(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say which events, and --json."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def as_json(event: AuditEvent) -> str:
    """Write an event as a line of JSON."""
    return json.dumps(asdict(event) | {"at": event.at.isoformat()}, ensure_ascii=False)


def as_line(event: AuditEvent) -> str:
    """Write an event for people."""
    fields = ", ".join(f"{n} ({form or 'not given'})" for n, form in event.fields.items())
    times = f" x{event.count}" if event.count > 1 else ""
    said = (
        f"{event.at:%Y-%m-%d %H:%M:%S}Z",
        f"{event.service:<16}",
        f"{event.purpose or '-':<14}",
        f"{event.operation or '-':<16}",
        f"{event.outcome}{times} {event.reason}".strip(),
        fields,
        event.compartment,
        f"to {event.recipient}" if event.recipient else "",
        event.request_id,
    )
    return "  ".join(part for part in said if part)
