"""`piivault audit keys`: the public keys that checkpoints are verified with."""

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path

import click

from vault import config
from vault.cli.options import config_option, settings
from vault.logins import log_in
from vault.names import to_base64url
from vault.opening import opening
from vault.service.signer import Signer


@click.command()
@config_option
def keys(file: Path) -> None:
    """Print the public keys of the key that signs checkpoints, one a line, in base64url.

    Asks the key server under the auditor's login. Pin them as `checkpoint_keys` in [auditor], and
    give them to whoever verifies trails.
    """
    read = settings(file)
    if read.auditor is None:
        raise click.ClickException("The configuration has no [auditor]: this is for the auditor.")
    for key in asyncio.run(_keys(read, read.auditor)):
        click.echo(to_base64url(key))


async def _keys(read: config.Settings, section: config.Auditor) -> Iterable[bytes]:
    async with AsyncExitStack() as stack:
        with opening("auditor"):
            signer = Signer(await log_in(read, section.login, stack), section.signing_key)
            return (await signer.keys()).values()
