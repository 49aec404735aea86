"""The bodies of entries of the control chain, as they are written; `ledger` reads them.

Each is canonical JSON of strings, so that what is signed has one spelling. A nonce lets the same be
said again later: a statement takes effect once.
"""

import json
from collections.abc import Mapping


def canonical(tree: Mapping[str, str]) -> bytes:
    """Write strings by name in their one spelling."""
    return json.dumps(tree, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def block_body(service: str, reason: str, nonce: str) -> bytes:
    """Write the body of a block; the nonce lets the same service be blocked again later."""
    return canonical({"service": service, "reason": reason, "nonce": nonce})


def unblock_body(block: bytes, reason: str) -> bytes:
    """Write the body that lifts a block, named by its statement."""
    return canonical({"block": block.hex(), "reason": reason})


def destroy_body(compartment: str, digest: bytes, reason: str, nonce: str) -> bytes:
    """Write the body that has a version of a key destroyed; the digest is that of a dry run."""
    said = {"compartment": compartment, "digest": digest.hex(), "reason": reason, "nonce": nonce}
    return canonical(said)


def touch_body(owner_id: str, compartment: bytes) -> bytes:
    """Write the body of a touch."""
    return canonical({"owner": owner_id, "compartment": compartment.hex()})


def reset_body(owner_id: str, compartment: bytes, reason: str, nonce: str) -> bytes:
    """Write the body that takes a touch back; the nonce lets it be done again after a new one."""
    said = {"owner": owner_id, "compartment": compartment.hex(), "reason": reason, "nonce": nonce}
    return canonical(said)
