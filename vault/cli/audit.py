"""`piivault audit`: read the trails, hold them against their checkpoints, cut off what is old.

A module a command, `audit_NAME.py`; what they share is in `auditing.py`.
"""

import click

from vault.cli.loading import Loading

_WHERE = {
    "accept": "vault.cli.audit_accept:accept",
    "export": "vault.cli.audit_export:export",
    "keys": "vault.cli.audit_keys:keys",
    "list": "vault.cli.audit_list:list_",
    "prune": "vault.cli.audit_prune:prune",
    "summary": "vault.cli.audit_summary:summary",
    "tail": "vault.cli.audit_list:tail",
    "verify": "vault.cli.audit_verify:verify",
}


@click.group(cls=Loading, where=_WHERE)
def audit() -> None:
    """Read audit trails, verify them, cut off what is old."""
