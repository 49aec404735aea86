"""How an officer signs: with a key file, or with a Transit key under the officer's own login.

PIIVAULT_OFFICER        the officer's name in the server's configuration
PIIVAULT_SIGNING_KEY    the file of an ed25519 private key (PEM), or transit:KEY
PIIVAULT_KEY_SERVER     with transit:KEY: the key server's address, https://…
PIIVAULT_KEY_SERVER_CA  with transit:KEY: the file of its CA
PIIVAULT_TOKEN_FILE     with transit:KEY: the file of the officer's token
PIIVAULT_KEY_SERVER_MOUNT  where Transit is mounted there; "transit" by default

The last four also say how an officer rotates Transit keys.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import click
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from piivault.officers import Approval, OfficersClient

from vault.keys.login import Token
from vault.keys.transit import Transit
from vault.service.ledger import statement

SIGNS = (
    "Signs as the officer PIIVAULT_OFFICER with PIIVAULT_SIGNING_KEY: the file of an ed25519 key, "
    "or transit:KEY, for which PIIVAULT_KEY_SERVER, PIIVAULT_KEY_SERVER_CA and PIIVAULT_TOKEN_FILE "
    "say where and by which login."
)
_TRANSIT = "transit:"
_SIGNATURE = 64  # bytes, of ed25519


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
        return Signer(officer, _with_transit(key.removeprefix(_TRANSIT)))
    try:
        private = load_pem_private_key(Path(key).read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
        private = None
    if not isinstance(private, Ed25519PrivateKey):
        raise click.ClickException(
            "PIIVAULT_SIGNING_KEY names no file with an ed25519 private key in PEM, unencrypted."
        )
    return Signer(officer, private.sign)


def parse_signatures(given: Iterable[str]) -> Mapping[str, bytes]:
    """Read signatures as `piivault policy sign` prints them; raise UsageError."""
    signatures = {}
    for text in given:
        officer, _, digits = text.partition(":")
        try:
            signatures[officer] = bytes.fromhex(digits)
        except ValueError:
            signatures[officer] = b""
        if not officer or len(signatures[officer]) != _SIGNATURE:
            raise click.UsageError(
                "--signature is OFFICER:HEX, as `piivault policy sign` printed it."
            )
    return signatures


def key_server() -> Transit:
    """Return the key server under the officer's own login, to be closed; raise ClickException."""
    address = _need("PIIVAULT_KEY_SERVER")
    ca, _ = _read("PIIVAULT_KEY_SERVER_CA")
    file, token = _read("PIIVAULT_TOKEN_FILE")
    if not token.isascii():
        raise click.ClickException(f"PIIVAULT_TOKEN_FILE names no token: {file} isn't ASCII.")
    mount = os.environ.get("PIIVAULT_KEY_SERVER_MOUNT", "transit")
    return Transit(address, ca, Token(token.decode("ascii").strip()), mount)


def _with_transit(key: str) -> Callable[[bytes], bytes]:
    key_server().close()  # says at once what is missing

    def sign(data: bytes) -> bytes:
        with closing(key_server()) as transit:
            return transit.sign(key, data)

    return sign


def _read(variable: str) -> tuple[Path, bytes]:
    """Return the file that a variable names, and its content; raise ClickException."""
    file = Path(_need(variable))
    try:
        return file, file.read_bytes()
    except OSError as e:
        sentence = f"{variable} names {file}, which can't be read ({e.strerror}). Correct it."
        raise click.ClickException(sentence) from None


def needed_reason(given: str | None) -> str:
    """Return the reason of whoever approves first; raise UsageError if there is none."""
    if given is None:
        raise click.UsageError(
            "No approval of this waits: you would be the first. Say why with --reason."
        )
    return given


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
