"""`piivault keys`: how a compartment's keys are; stop them, let them go on, have them forgotten."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Any

import click
from piivault import errors
from piivault.keys import Acted, Keys, KeyStatus, KeyVersion, RingStatus
from piivault.officers import OfficersClient
from rich.table import Table

from vault.cli.loading import Loading
from vault.cli.tables import console, table

_WHERE = {
    "approve": "vault.cli.policy:approve",
    "close-epoch": "vault.cli.keys_epoch:close_epoch",
    "destroy": "vault.cli.keys_destroy:destroy",
    "rotate": "vault.cli.keys_rotate:rotate",
    "rotations": "vault.cli.keys_rotate:rotations",
}
_compartment = click.argument("compartment")
_key = click.option(
    "--key",
    "text",
    metavar="KIND:VERSION",
    help="One version of a key, such as kek:2 or index:email:1; else the whole compartment.",
)
_yes = click.option("--yes", is_flag=True, help="Don't ask.")


@click.group(cls=Loading, where=_WHERE)
def keys() -> None:
    """Look at a compartment's keys, stop them, let them go on.

    Asks a worker of the compartment, as an officer: with the certificate of PIIVAULT_CERTIFICATE,
    at PIIVAULT_COMPARTMENT_<NAME>_ADDRESS, or PIIVAULT_ADDRESS. Each may be repeated.
    """


@keys.command()
@_compartment
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status(compartment: str, as_json: bool) -> None:
    """Say of every key version what it may do, what needs it, and whether it may be trimmed."""
    with asking(compartment, "Nothing was to be changed.") as ring:
        found = ring.status()
    if as_json:
        click.echo(json.dumps(_tree(found), indent=2))
        return
    console().print(_table(found))
    state = "SUSPENDED: nothing is decrypted" if found.suspended else "serving"
    click.echo(f"{found.compartment} is {state}; epoch {found.epoch}.")
    for line in _also(found):
        click.echo(line)
    click.echo(
        f"Other workers are at most {found.bound_seconds} s behind. `last used` is what the one "
        "that answers knows."
    )


@keys.command()
@_compartment
@_key
@_yes
def suspend(compartment: str, text: str | None, yes: bool) -> None:
    """Stop a compartment, or one version of a key: nothing is decrypted under it until `resume`.

    The emergency stop. Nothing is lost by it; the trail goes on, and says who was refused.
    """
    key, what = _what(compartment, text)
    if not yes:
        click.echo(
            f"Every call that needs {what} will be refused (KEYS_SUSPENDED), of subjects and "
            "services alike, until an officer resumes it."
        )
        click.confirm(f"Suspend {what}?", abort=True)
    _carry_out(
        compartment,
        lambda ring: ring.suspend(key),
        f"Suspended: {what}.",
        "no process decrypts under it",
    )


@keys.command()
@_compartment
@_key
@_yes
def resume(compartment: str, text: str | None, yes: bool) -> None:
    """Let a compartment go on, or one version of a key."""
    key, what = _what(compartment, text)
    if not yes:
        click.confirm(f"Let {what} go on?", abort=True)
    _carry_out(
        compartment,
        lambda ring: ring.resume(key),
        f"Not suspended any more: {what}.",
        "every process serves with it again",
    )


@keys.command()
@_compartment
@_yes
def evict(compartment: str, yes: bool) -> None:
    """Have every worker of a compartment forget its keys in clear, and ask the key server anew.

    For when what the key server says has changed. Where it can't be asked, nothing is served.
    """
    if not yes:
        click.echo("Each worker asks the key server anew; where it can't, it serves nothing.")
        click.confirm(f"Have the keys of {compartment} forgotten?", abort=True)
    _carry_out(
        compartment,
        Keys.evict,
        f"Forgotten: the keys of {compartment} in clear.",
        "no process has one in clear from before",
    )


def _what(compartment: str, text: str | None) -> tuple[KeyVersion | None, str]:
    if text is None:
        return None, f"the compartment {compartment}"
    try:
        key = KeyVersion.parse(text)
    except errors.InvalidRequest as e:
        raise click.UsageError(e.message) from None
    return key, f"{key} of {compartment}"


def _carry_out(compartment: str, act: Callable[[Keys], Acted], done: str, promise: str) -> None:
    with asking(compartment, "Whether anything was changed isn't known.") as ring:
        acted = act(ring)
    click.echo(done if acted.changed else f"{done} It was so before: nothing was changed.")
    click.echo(f"Within {acted.bound_seconds} s {promise}. Epoch {acted.epoch}.")


@contextmanager
def asking(compartment: str, doubt: str) -> Iterator[Keys]:
    """Open the way to a worker; where none answers, say what that means."""
    with OfficersClient.from_env() as officers:
        try:
            yield officers.keys(compartment)
        except (errors.ConnectionFailed, errors.DeadlineExceeded) as e:
            raise click.ClickException(
                f"{e}\nNo worker of {compartment} answered. {doubt} Other workers of it may be "
                "serving: this is no proof that it stands still. Repeat the command; what was "
                "done isn't done twice. To stop it without a worker, revoke its login at the key "
                "server and stop its processes."
            ) from None


def _table(found: RingStatus) -> Table:
    numbers = ("data\nkeys", "encrypted,\nof 2^32")
    whole = ("key", "state", "drawn", "Transit", *numbers, "last used")
    title = f"Keys of {found.compartment}"
    shown = table(*whole, "safe to trim", title=title, right=numbers, whole=whole)
    for key in found.keys:
        shown.add_row(
            str(key.name),
            key.state,
            f"{key.created_at:%Y-%m-%d}" if key.created_at else "?",
            f"v{key.transit_version}" if key.transit_version else "-",
            f"{key.data_keys:,}" if key.name.kind == "kek" else "",
            _invocations(key),
            f"{key.last_used_at:%Y-%m-%d\n%H:%M:%S}" if key.last_used_at else "",
            "yes" if key.safe_to_trim else f"no: {key.why_not}",
        )
    return shown


def _also(found: RingStatus) -> Iterator[str]:
    erased, days = found.erasures, found.erasures.snapshot_retention_days
    closed = f"the last one on {erased.last_closed_at:%Y-%m-%d}" if erased.last_closed_at else ""
    yield (
        f"Erased: {erased.shredded:,} shredded, at least {erased.unrecoverable:,} unrecoverable. "
        f"Epochs closed: {erased.epochs_closed}{closed and ', '}{closed}."
    )
    if days is None:
        yield (
            "How long snapshots of the key server are kept isn't declared "
            "(key_server.snapshot_retention_days), so nothing counts as unrecoverable."
        )
    if found.superseded_data_keys:
        yield (
            f"Up to {found.superseded_data_keys:,} data keys are superseded: data backups from "
            "before need them. `close-epoch --drop-superseded` drops them."
        )
    signing = found.signing
    yield f"Signs for its subjects: {signing.name} v{signing.version}, public key"
    yield f"    {signing.public_key}"
    for key in (found.transit, found.audit_transit):
        yield f"Transit key {key.name}: versions below {key.oldest_needed} aren't needed here."


def _invocations(key: KeyStatus) -> str:
    if not key.invocation_limit:
        return ""
    if key.invocations is None:
        return "unknown"
    return f"{key.invocations:,}\n{key.invocations / key.invocation_limit:.3%}"


def _tree(found: RingStatus) -> dict[str, Any]:
    tree = asdict(found)
    for key, its in zip(tree["keys"], found.keys, strict=True):
        key["name"] = str(its.name)
        for moment in ("created_at", "last_used_at"):
            at: datetime | None = key[moment]
            key[moment] = at.isoformat() if at else None
    closed = found.erasures.last_closed_at
    tree["erasures"]["last_closed_at"] = closed.isoformat() if closed else None
    return tree
