"""How an officer signs: with a key file, or with a Transit key under the officer's own login.

PIIVAULT_OFFICER        the officer's name in the server's configuration
PIIVAULT_SIGNING_KEY    the file of an ed25519 private key (PEM), or transit:KEY
PIIVAULT_KEY_SERVER     with transit:KEY: the key server's address, https://…
PIIVAULT_KEY_SERVER_CA  with transit:KEY: the file of its CA
PIIVAULT_TOKEN_FILE     with transit:KEY: the file of the officer's token
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from piivault.officers import Approval, OfficersClient

from vault.keys.transit import Token, Transit
from vault.service.ledger import statement

_TRANSIT = "transit:"


@dataclass(frozen=True, slots=True)
class Signer:
    """An officer, able to sign."""

    officer: str
    sign: Callable[[bytes], bytes]

    def approve(self, control: OfficersClient, kind: str, body: bytes) -> Approval:
        """Sign an entry and hand the signature in."""
        return control.approve(kind, body, self.officer, self.sign(statement(kind, body)))


def signer() -> Signer:
    """Return the officer of the environment; raise ClickException that says what is missing."""
    officer, key = _need("PIIVAULT_OFFICER"), _need("PIIVAULT_SIGNING_KEY")
    if key.startswith(_TRANSIT):
        token = Path(_need("PIIVAULT_TOKEN_FILE")).read_text(encoding="utf-8").strip()
        ca = Path(_need("PIIVAULT_KEY_SERVER_CA"))
        transit = Transit(_need("PIIVAULT_KEY_SERVER"), ca, Token(token))
        return Signer(officer, lambda data: transit.sign(key.removeprefix(_TRANSIT), data))
    try:
        private = load_pem_private_key(Path(key).read_bytes(), password=None)
    except (OSError, ValueError, TypeError):
        private = None
    if not isinstance(private, Ed25519PrivateKey):
        raise click.ClickException(
            "PIIVAULT_SIGNING_KEY names no file with an ed25519 private key in PEM, unencrypted."
        )
    return Signer(officer, private.sign)


def report(approval: Approval, what: str) -> None:
    """Say what became of an entry."""
    if approval.effective:
        click.echo(f"{what}: in effect. Approved by {', '.join(approval.approved_by)}.")
    else:
        click.echo(
            f"{what}: approved by {len(approval.approved_by)} of {approval.needed} officers. "
            "Another officer must run the same command, or `piivault policy approve`."
        )


def _need(variable: str) -> str:
    value = os.environ.get(variable)
    if not value:
        raise click.ClickException(
            f"{variable} isn't set. In development: `. .piivault/env/officer-aida.env`."
        )
    return value
