"""`piivault audit`: read the trails, hold them against their checkpoints, cut off what is old.

A module a command, `audit_NAME.py`; what they share is in `auditing.py`.
"""

import click

from vault.cli.audit_accept import accept
from vault.cli.audit_export import export
from vault.cli.audit_keys import keys
from vault.cli.audit_list import list_, tail
from vault.cli.audit_prune import prune
from vault.cli.audit_summary import summary
from vault.cli.audit_verify import verify


@click.group()
def audit() -> None:
    """Read audit trails, verify them, cut off what is old."""


for command in (list_, tail, summary, verify, export, accept, prune, keys):
    audit.add_command(command)
