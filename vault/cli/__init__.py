"""The command `piivault`.

    piivault dev              run everything on this machine
    piivault setup            write what a deployment needs: keys, policies, databases, roles
    piivault serve            run one process of a deployment
    piivault config check     read the configuration, say what is wrong
    piivault db upgrade       bring the databases to this release's schema
    piivault backup           write a compartment's data and keys, or control, into files
    piivault restore          bring them back into an empty database
    piivault restore-drill    try that on a scratch database: do the living read, and no erased one?
    piivault verify           open every envelope, hold every row against the audit trail
    piivault policy           check, show, diff, sign, publish, approve, explain, graph editions
    piivault service          block a service now; let it go on
    piivault history          show what owners touched; reset it
    piivault audit            verify, export and prune audit trails
    piivault import           put a file's rows, as a service that may put
    piivault requests         what subjects asked for, and what is overdue
    piivault keys             how a compartment's keys are; stop, rotate, destroy them; close epochs

Each says more with --help. A module a command; what they share is in `options` and `signing`.
"""

import sys

import click
from piivault.errors import PiivaultError

from vault.audit.export import ExportError
from vault.audit.signed import CheckpointError
from vault.cli.audit import audit
from vault.cli.backup import backup
from vault.cli.bulk_import import import_
from vault.cli.config import config
from vault.cli.db import db
from vault.cli.dev import dev
from vault.cli.drill import restore_drill
from vault.cli.first import first
from vault.cli.history import history
from vault.cli.keys import keys
from vault.cli.keys_destroy import destroy
from vault.cli.keys_epoch import close_epoch
from vault.cli.keys_rotate import rotate, rotations
from vault.cli.policy import approve, policy
from vault.cli.requests import requests
from vault.cli.restore import restore
from vault.cli.serve import serve
from vault.cli.service import service
from vault.cli.setup import setup
from vault.cli.verify import verify
from vault.config import ConfigError
from vault.dev import DevError
from vault.errors import VaultError
from vault.keys.errors import KeyServerError
from vault.opening import StartError
from vault.policy import EditionError
from vault.service.ledger import ControlChainError
from vault.service.prune import PruneError
from vault.service.verify_chains import NoTrailError
from vault.store.backup_file import BackupError
from vault.store.rights import RoleError
from vault.store.schema import SchemaError

# What a person can act on: said in words, without a traceback.
_SAID = (
    BackupError,
    CheckpointError,
    ConfigError,
    ControlChainError,
    DevError,
    EditionError,
    ExportError,
    KeyServerError,
    NoTrailError,
    PiivaultError,
    PruneError,
    RoleError,
    SchemaError,
    StartError,
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="piivault-server", prog_name="piivault")
def cli() -> None:
    """Keep personal data in compartments that can't be joined."""


policy.add_command(first)
for officers_own in (rotate, rotations, close_epoch, destroy, approve):
    keys.add_command(officers_own)
for command in (
    dev,
    setup,
    serve,
    config,
    db,
    backup,
    restore,
    policy,
    service,
    history,
    audit,
    import_,
    requests,
    keys,
    restore_drill,
    verify,
):
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
    except OSError as e:  # a file that isn't there, or a disk that is full
        where = f"{e.filename}: " if e.filename else ""
        sys.exit(f"piivault: {where}{e.strerror or type(e).__name__}")
