"""The command `piivault`.

    piivault dev              run everything on this machine
    piivault serve            run one process of a deployment
    piivault config check     read the configuration, say what is wrong
    piivault db upgrade       bring the databases to this release's schema
    piivault policy           check, show, diff, sign, publish, approve, explain, graph editions
    piivault service          block a service now; let it go on

Each says more with --help. A module a command; what they share is in `options` and `signing`.
"""

import sys

import click
from piivault.errors import PiivaultError

from vault.app import StartError
from vault.cli.config import config
from vault.cli.db import db
from vault.cli.dev import dev
from vault.cli.policy import policy
from vault.cli.serve import serve
from vault.cli.service import service
from vault.config import ConfigError
from vault.dev import DevError
from vault.errors import VaultError
from vault.keys.errors import KeyServerError
from vault.policy import EditionError
from vault.service.ledger import ControlChainError
from vault.store.schema import SchemaError

# What a person can act on: said in words, without a traceback.
_SAID = (
    ConfigError,
    ControlChainError,
    DevError,
    EditionError,
    KeyServerError,
    PiivaultError,
    SchemaError,
    StartError,
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="piivault-server", prog_name="piivault")
def cli() -> None:
    """Keep personal data in compartments that can't be joined."""


for command in (dev, serve, config, db, policy, service):
    cli.add_command(command)


def main() -> None:
    """Run the command; end with 0, 1 (it didn't work) or 2 (it was called wrongly)."""
    try:
        cli.main(standalone_mode=False)
    except click.ClickException as e:
        e.show()
        sys.exit(e.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except VaultError as e:
        sys.exit(f"piivault: {e.message}")
    except _SAID as e:
        sys.exit(f"piivault: {e}")
