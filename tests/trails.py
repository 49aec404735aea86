"""A compartment's trail with its checkpoints, in memory: as stored, and as shipped."""

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from vault.audit.chain import Chain, Link, hash_of
from vault.audit.checkpoint import Base, Checkpoint, Head
from vault.audit.claims import claims_of
from vault.audit.event import ALLOWED, Event
from vault.audit.faults import Faults
from vault.audit.signed import Signed, by_id, sign_off, to_sign
from vault.audit.verification import Verdict, Verification

COMPARTMENT = b"accounts: 16 byt"
AUDIT_KEY = bytes(range(32))
SECRET = Ed25519PrivateKey.from_private_bytes(b"the auditor's key: 32 bytes long")
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
KEYS = by_id([SECRET.public_key().public_bytes_raw()])
DAY = 24 * 3600 * 1_000_000

Stored = tuple[int, Signed]

SCHEMA = json.loads(
    (Path(__file__).parents[1] / "docs/audit-export.schema.json").read_text(encoding="utf-8")
)


def signed(checkpoint: Checkpoint, secret: Ed25519PrivateKey = SECRET) -> Signed:
    keys = by_id([secret.public_key().public_bytes_raw()])
    made = sign_off(checkpoint.body, secret.sign(to_sign(checkpoint.body)), keys)
    assert made is not None
    return made


async def _key() -> tuple[bytes, int]:
    return AUDIT_KEY, 1


def new_chain(compartment: bytes = COMPARTMENT) -> Chain:
    chain = Chain(compartment, _key)
    with suppress(StopIteration):  # it waits for nothing: its key is at hand
        chain.ready().send(None)
    return chain


def write(chain: Chain, count: int) -> list[Link]:
    """Let a chain go on, and return its new links."""
    said = Event(1, "orders", "shop-team", "services", "reveal", "request", ALLOWED)
    rows = chain.extend([said] * count)
    chain.settle()
    return [Link(**row) for row in rows]  # type: ignore[arg-type]


def heads_of(links: Iterable[Link], compartment: bytes = COMPARTMENT) -> dict[bytes, Head]:
    """Return the heads that a checkpoint over these links has."""
    return {its.writer: Head(its.sequence, hash_of(compartment, its)) for its in in_order(links)}


def in_order(links: Iterable[Link]) -> list[Link]:
    """As a database gives them back: by writer and sequence."""
    return sorted(links, key=lambda link: (link.writer, link.sequence))


@dataclass(frozen=True)
class Kept:
    """What lies in a compartment's database, and what was shipped."""

    links: tuple[Link, ...]
    stored: tuple[Stored, ...]
    shipped: tuple[tuple[str, Signed], ...] = field(default=())

    def with_links(self, links: Iterable[Link]) -> "Kept":
        return replace(self, links=tuple(in_order(links)))

    def verify(self) -> Verdict:
        faults = Faults()
        claims = claims_of(COMPARTMENT, KEYS, self.stored, self.shipped, faults)
        check = Verification(COMPARTMENT, claims, faults)
        check.take(self.links)
        return check.finish()

    @property
    def last(self) -> Checkpoint:
        return Checkpoint.read(self.stored[-1][1].body)


def made(steps: Sequence[Sequence[int]], *, base_at: int | None = None) -> Kept:
    """Write events by several writers, a checkpoint after each step; ship all of them.

    A step says how many events each writer adds. The last checkpoint has a base if one is given.
    """
    chains = [new_chain() for _ in max(steps, key=len)]
    links: list[Link] = []
    checkpoints: list[Checkpoint] = []
    for number, step in enumerate(steps):
        for chain, count in zip(chains, step, strict=False):
            links += write(chain, count)
        heads, at = heads_of(links), (number + 1) * DAY
        if not checkpoints:
            checkpoints.append(Checkpoint.first(COMPARTMENT, at, heads))
            continue
        base = None
        if base_at is not None and number == len(steps) - 1:
            base = Base(base_at, checkpoints[base_at].hash)
        checkpoints.append(checkpoints[-1].next(at, heads, base))
    stored = tuple((its.number, signed(its)) for its in checkpoints)
    shipped = tuple((f"line {n + 1}", its) for n, its in stored)
    return Kept(tuple(in_order(links)), stored, shipped)


def pruned(kept: Kept, at: int) -> Kept:
    """Cut off what lies before the heads of a checkpoint."""
    heads = Checkpoint.read(dict(kept.stored)[at].body).heads
    left = [
        link
        for link in kept.links
        if link.writer not in heads or link.sequence >= heads[link.writer].sequence
    ]
    stored = tuple(its for its in kept.stored if its[0] >= at)
    return replace(kept, links=tuple(left), stored=stored)


def fits(line: bytes, form: str) -> bool:
    """Tell whether a line has the keys, types and patterns of its kind in the schema."""
    said = json.loads(line)
    kind = said["type"] if said["type"] != "event" else f"{form}-event"
    return _fits(said, SCHEMA["$defs"][kind])


def _fits(said: Any, schema: dict[str, Any]) -> bool:
    kinds = {"string": str, "integer": int, "object": dict, "array": list, "boolean": bool}
    if "const" in schema and said != schema["const"]:
        return False
    if "enum" in schema and said not in schema["enum"]:
        return False
    if "type" in schema and not isinstance(said, kinds[schema["type"]]):
        return False
    if "items" in schema:
        return all(_fits(item, schema["items"]) for item in said)
    if "properties" not in schema:
        return True
    known = schema["properties"]
    return (
        set(schema["required"]) <= said.keys() <= known.keys()
        and schema["additionalProperties"] is False
        and all(_fits(value, known[name]) for name, value in said.items())
    )
