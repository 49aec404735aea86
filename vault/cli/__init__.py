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

Each says more with --help. A module a command, loaded when it is run; what they share is in
`options` and `signing`.
"""

import sys

import click

from vault.cli.loading import Loading

_WHERE = {
    "audit": "vault.cli.audit:audit",
    "backup": "vault.cli.backup:backup",
    "config": "vault.cli.config:config",
    "db": "vault.cli.db:db",
    "dev": "vault.cli.dev:dev",
    "history": "vault.cli.history:history",
    "import": "vault.cli.bulk_import:import_",
    "keys": "vault.cli.keys:keys",
    "policy": "vault.cli.policy:policy",
    "requests": "vault.cli.requests:requests",
    "restore": "vault.cli.restore:restore",
    "restore-drill": "vault.cli.drill:restore_drill",
    "serve": "vault.cli.serve:serve",
    "service": "vault.cli.service:service",
    "setup": "vault.cli.setup:setup",
    "verify": "vault.cli.verify:verify",
}


@click.group(cls=Loading, where=_WHERE, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="piivault-server", prog_name="piivault")
def cli() -> None:
    """Keep personal data in compartments that can't be joined."""


def main() -> None:
    """Run the command; end with 0, 1 (it didn't work) or 2 (it was called wrongly)."""
    try:
        cli.main(standalone_mode=False)
    except click.ClickException as e:
        e.show()
        sys.exit(e.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Aborted.", err=True)
        sys.exit(130)
    except Exception as e:
        from vault.cli.said import said  # it knows the errors of all rooms, and so loads them

        words = said(e)
        if words is None:
            raise
        sys.exit(f"piivault: {words}")
