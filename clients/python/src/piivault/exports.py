"""A subject's exports on the subject's side: opened, verified, merged. Needs `piivault[subject]`.

    opened = [open_package(package, keys, signing_keys) for package in packages]
    merged = merge(opened)                           # one tree, to be written as JSON

`keys` are the ExportKeys that the exports were asked for with; `signing_keys` the public keys of
the compartments, by name, as their operator publishes them. What they hold is put together here and
nowhere else: no server sees it. piivault's docs/formats.md describes a package byte by byte.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from piivault import attestation
from piivault._encoding import from_base64url, join, split, to_base64url
from piivault._hpke import NotOpenedError
from piivault.errors import AttestationError, ConfigurationError, PackageError
from piivault.export_keys import ExportKey, ExportKeys, Suite

SUITES: Mapping[int, Suite] = {1: "X25519", 2: "MLKEM768-X25519"}

_VERSION = 1
_HEADER_BYTES = 1 + 1 + 16 + 16 + 32  # version, suite, compartment, request id, thumbprint
_DAMAGED = (
    "This package doesn't open: it was changed on the way, or cut short. Ask for a new export."
)


@dataclass(frozen=True, slots=True)
class Export:
    """What one compartment holds of the subject, by its own signed word.

    `holdings` is the JSON that docs/export.schema.json describes. `salt` and `attestation` prove
    it to others: `verify(…)` does so with the compartment's public keys.
    """

    compartment: str
    holdings: Mapping[str, Any] = field(repr=False)
    salt: bytes = field(repr=False)
    attestation: bytes = field(repr=False)

    def verify(self, signing_keys: Sequence[str]) -> None:
        """Raise AttestationError unless one of the compartment's keys signed these holdings."""
        uuid = bytes.fromhex(self.holdings["compartment"]["uuid"])
        said = attestation.verify(self.attestation, signing_keys, "export", uuid)
        if said.body != _commitment(self.salt, _written(self.holdings)):
            raise AttestationError("The compartment signed other holdings than these.")


def open_package(
    package: bytes, keys: ExportKeys, signing_keys: Mapping[str, Sequence[str]]
) -> Export:
    """Open a package and verify what is in it.

    Raises PackageError where it isn't for one of these keys or doesn't open, AttestationError where
    the compartment didn't sign what is in it, ConfigurationError where no key is known to tell.
    """
    header = package[:_HEADER_BYTES]
    if len(header) < _HEADER_BYTES or header[0] != _VERSION or header[1] not in SUITES:
        raise PackageError(
            "This is no package of an export, or one of a newer release: update `piivault`."
        )
    pair = _pair(header, keys)
    try:
        content = pair.unseal(package[_HEADER_BYTES:], join(b"piivault/v1/export", header))
        salt, signed, text = split(_unpadded(content))
    except (NotOpenedError, ValueError):
        raise PackageError(_DAMAGED) from None
    export = _export(salt, signed, text)
    export.verify(signing_keys.get(export.compartment, ()))
    _check_place(export, header, pair, keys)
    return export


def merge(exports: Iterable[Export]) -> dict[str, Any]:
    """Put the exports of several compartments into one tree, by the compartments' names."""
    by_name: dict[str, Export] = {}
    for export in exports:
        if export.compartment in by_name:
            raise PackageError(
                f"There are two exports of {export.compartment}: give the newer one."
            )
        by_name[export.compartment] = export
    return {
        "kind": "piivault-merged-export",
        "format": 1,
        "exports": [
            {
                "holdings": export.holdings,
                "salt": to_base64url(export.salt),
                "attestation": to_base64url(export.attestation),
            }
            for _, export in sorted(by_name.items())
        ],
    }


def merged_text(merged: Mapping[str, Any]) -> str:
    """Write a merged export as JSON; read it again and `read_merged` it to verify it once more."""
    return json.dumps(merged, ensure_ascii=False, indent=1) + "\n"


def read_merged(merged: Mapping[str, Any]) -> list[Export]:
    """Return the exports that `merge` put together: `verify` each. Raises PackageError."""
    try:
        parts = [
            (from_base64url(its["salt"]), from_base64url(its["attestation"]), its["holdings"])
            for its in merged["exports"]
        ]
    except (KeyError, TypeError, ValueError):
        raise PackageError("This is no merged export.") from None
    return [_export(salt, signed, _written(holdings)) for salt, signed, holdings in parts]


def read_signing_keys(text: str) -> dict[str, list[str]]:
    """Read public keys as an operator publishes them: a JSON object of lists, by compartment."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(
        isinstance(keys, list) and all(isinstance(key, str) for key in keys)
        for keys in found.values()
    ):
        raise ConfigurationError('Signing keys are JSON: {"accounts": ["…", …], …}.')
    return found


def _pair(header: bytes, keys: ExportKeys) -> ExportKey:
    pair = keys.of(header[-32:])
    if pair is None or pair.public.suite != SUITES[header[1]]:
        raise PackageError(
            "This package is sealed to a key that isn't among these: find the keys that the export "
            "was asked for with. If you asked with these, somebody put in a key of their own: tell "
            "the operator, and ask for a new export."
        )
    return pair


def _export(salt: bytes, signed: bytes, text: bytes) -> Export:
    """Read the holdings. They are believed only once their signature was verified."""
    try:
        holdings = json.loads(text)
        name = holdings["compartment"]["name"]
        bytes.fromhex(holdings["compartment"]["uuid"])
        if not isinstance(name, str) or _written(holdings) != text:
            raise ValueError("not as it was written")
    except (ValueError, TypeError, KeyError, RecursionError):
        raise PackageError(_DAMAGED) from None
    return Export(name, holdings, salt, signed)


def _check_place(export: Export, header: bytes, pair: ExportKey, keys: ExportKeys) -> None:
    """Raise PackageError unless the signed holdings are the ones for this request and key."""
    said = export.holdings
    if (said.get("kind"), said.get("format")) != ("piivault-export", 1):
        raise PackageError("These holdings are of a newer release: update `piivault`.")
    asked = said["request"]
    compartment, request_id = header[2:18].hex(), header[18:34].hex()
    if (said["compartment"]["uuid"], asked["id"]) != (compartment, request_id):
        raise PackageError(
            "What was signed is the answer to another request: ask for a new export."
        )
    if asked["key"] != pair.public.thumbprint or keys.get(export.compartment) is not pair:
        raise PackageError(
            f"What was signed isn't for the key that was made for {export.compartment}: somebody "
            "passed another export off as this one. Ask for a new export."
        )


def _written(holdings: Mapping[str, Any]) -> bytes:
    return json.dumps(holdings, ensure_ascii=False, separators=(",", ":")).encode()


def _commitment(salt: bytes, text: bytes) -> bytes:
    """Return what is signed. Salted: who only sees a signature asked for can't guess values."""
    return hashlib.sha256(join(b"piivault/v1/export-content", salt, text)).digest()


def _unpadded(padded: bytes) -> bytes:
    end = 4 + int.from_bytes(padded[:4], "big")
    if end > len(padded) or padded[end:].strip(b"\0"):
        raise ValueError("not padded data")
    return padded[4:end]
