"""Sealing and opening one field, against libraries that do so: in one process, on one core.

    make bench-libraries

They need packages that nothing else needs, so they have an environment of their own. What each does
differs, and the table says it. All keys that wrap are in memory: no key server is asked.
"""

import json
import secrets
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import asherah
import aws_encryption_sdk
import tink
from aws_cryptographic_material_providers.mpl import AwsCryptographicMaterialProviders
from aws_cryptographic_material_providers.mpl.config import MaterialProvidersConfig
from aws_cryptographic_material_providers.mpl.models import AesWrappingAlg, CreateRawAesKeyringInput
from rich.console import Console
from rich.table import Table
from tink import aead

from vault.crypto import padding
from vault.crypto.envelope import Kind, seal, unseal
from vault.crypto.primitives import KEY_BYTES, derive
from vault.crypto.record import Address, DataKey, unwrap_data_key, wrap_data_key

VALUE = b"+996 555 123456"
_SECONDS, _ROUNDS = 0.2, 9
_KEY = secrets.token_bytes(KEY_BYTES)
_CONTEXT = {"compartment": "accounts", "pseudonym": "a" * 43, "field": "phone"}
_ASSOCIATED = json.dumps(_CONTEXT).encode()


@dataclass(frozen=True, slots=True)
class Sealing:
    """How a library seals and opens a value, and what it does for that."""

    what: str
    seal: Callable[[], Any]
    open: Callable[[Any], bytes]


def main() -> None:
    """Measure all of them in turn, and print microseconds."""
    candidates = {
        "piivault": _field(),
        "piivault, a key each": _field_with_key(),
        "Tink": _tink(),
        "Tink, envelope": _tink_envelope(),
        "Asherah": _asherah(),
        "AWS Encryption SDK": _aws(),
    }
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in candidates}
    for _ in range(_ROUNDS):
        for name, its in candidates.items():
            sealed = its.seal()
            assert its.open(sealed) == VALUE
            opening = partial(its.open, sealed)
            took[name].append((_microseconds(its.seal), _microseconds(opening)))
    table = Table(title=f"One value of {len(VALUE)} bytes; medians of {_ROUNDS} rounds, in turn")
    for column in ("library", "what it does"):
        table.add_column(column)
    for column in ("seal, µs", "open, µs"):
        table.add_column(column, justify="right")
    for name, rounds in took.items():
        figures = (f"{statistics.median(column):.1f}" for column in zip(*rounds, strict=True))
        table.add_row(name, candidates[name].what, *figures)
    Console(width=120).print(table)


def _microseconds(operation: Callable[[], object]) -> float:
    operation()
    times, end = 0, time.perf_counter() + _SECONDS
    began = time.perf_counter()
    while time.perf_counter() < end:
        for _ in range(20):
            operation()
        times += 20
    return (time.perf_counter() - began) / times * 1e6


def _field() -> Sealing:
    place = (bytes(16), bytes(32), bytes(16), bytes(4), b"phone")

    def seal_field() -> bytes:
        padded = padding.pad(VALUE, padding.field_size(len(VALUE)))
        return seal(derive(_KEY, b"field", bytes(4)), Kind.FIELD, bytes(8), place, padded)

    def open_field(sealed: bytes) -> bytes:
        return padding.unpad(unseal(derive(_KEY, b"field", bytes(4)), Kind.FIELD, place, sealed))

    return Sealing("padded, bound to its place, a key derived for it", seal_field, open_field)


def _field_with_key() -> Sealing:
    address, field = Address(bytes(16), bytes(32)), _field()

    def seal_both() -> tuple[bytes, bytes]:
        return wrap_data_key(_KEY, address, DataKey.new()), field.seal()

    def open_both(sealed: tuple[bytes, bytes]) -> bytes:
        unwrap_data_key(_KEY, address, sealed[0])
        return field.open(sealed[1])

    return Sealing("the same, and a data key drawn and wrapped", seal_both, open_both)


def _tink() -> Sealing:
    primitive = _aead()
    return Sealing(
        "AES-256-GCM with associated data, one key",
        lambda: primitive.encrypt(VALUE, _ASSOCIATED),
        lambda sealed: primitive.decrypt(sealed, _ASSOCIATED),
    )


def _tink_envelope() -> Sealing:
    primitive = aead.KmsEnvelopeAead(aead.aead_key_templates.AES256_GCM, _aead())
    return Sealing(
        "a data key drawn and wrapped for each value",
        lambda: primitive.encrypt(VALUE, _ASSOCIATED),
        lambda sealed: primitive.decrypt(sealed, _ASSOCIATED),
    )


def _aead() -> Any:
    aead.register()
    return tink.new_keyset_handle(aead.aead_key_templates.AES256_GCM).primitive(aead.Aead)


def _asherah() -> Sealing:
    settings = {
        "ServiceName": "bench",
        "ProductID": "piivault",
        "Metastore": "memory",
        "KMS": "static",
        "StaticMasterKeyHex": _KEY.hex(),
        "EnableSessionCaching": True,
    }
    session = asherah.SessionFactory(settings).get_session("a" * 43)
    return Sealing(
        "a data key for each value, two cached keys above it, JSON",
        lambda: session.encrypt_bytes(VALUE),
        session.decrypt_bytes,
    )


def _aws() -> Sealing:
    client = aws_encryption_sdk.EncryptionSDKClient()
    providers = AwsCryptographicMaterialProviders(config=MaterialProvidersConfig())
    wrapping = CreateRawAesKeyringInput(
        key_namespace="bench",
        key_name="bench",
        wrapping_key=_KEY,
        wrapping_alg=AesWrappingAlg.ALG_AES256_GCM_IV12_TAG16,
    )
    keyring = providers.create_raw_aes_keyring(input=wrapping)
    context = {"keyring": keyring, "encryption_context": _CONTEXT}
    return Sealing(
        "a data key for each value, committed to and signed (its default)",
        lambda: client.encrypt(source=VALUE, **context)[0],
        lambda sealed: bytes(client.decrypt(source=sealed, **context)[0]),
    )


if __name__ == "__main__":
    main()
