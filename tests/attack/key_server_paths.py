"""What can be asked of the key server, and what each login may.

What a login may do is written here by hand, not read from what writes the policies.
"""

from collections.abc import Mapping
from typing import Any

from tests.attack.key_server import text
from tests.people import COMPARTMENTS

OWN = ("piivault-pseudonym", "piivault-capability", "piivault-audit", "piivault.broker")
_ENDS = ("", ".audit", ".signing")
KEYS = (*(f"piivault-{c}{end}" for c in COMPARTMENTS for end in _ENDS), *OWN)
LOGINS = (*(f"worker-{c}" for c in COMPARTMENTS), "broker", "auditor")

INPUT = text(b"attack")
SEALED = {"ciphertext": "vault:v1:" + text(bytes(44)), "context": INPUT}

# Method, path and body of all that can be done with a key. Bodies are good: what the root token
# sends is done.
Operation = tuple[str, str, Mapping[str, Any]]
ON_A_KEY: Mapping[str, Operation] = {
    "wrapped": ("POST", "datakey/wrapped/{}", {"context": INPUT, "bits": 256}),
    "plaintext": ("POST", "datakey/plaintext/{}", {"context": INPUT, "bits": 256}),
    "encrypt": ("POST", "encrypt/{}", {"plaintext": INPUT, "context": INPUT}),
    "encrypt a batch": (
        "POST", "encrypt/{}", {"batch_input": [{"plaintext": INPUT, "context": INPUT}]}),
    "decrypt": ("POST", "decrypt/{}", SEALED),
    "decrypt a batch": ("POST", "decrypt/{}", {"batch_input": [SEALED]}),
    "rewrap": ("POST", "rewrap/{}", SEALED),
    "hmac": ("POST", "hmac/{}", {"input": INPUT}),
    "hmac by an algorithm": ("POST", "hmac/{}/sha2-512", {"input": INPUT}),
    "sign": ("POST", "sign/{}", {"input": INPUT}),
    "sign by an algorithm": ("POST", "sign/{}/sha2-512", {"input": INPUT}),
    "verify": ("POST", "verify/{}", {"input": INPUT, "hmac": "vault:v1:" + text(bytes(32))}),
    "read": ("GET", "keys/{}", {}),
    "read for a context": ("GET", f"keys/{{}}?context={INPUT}", {}),
    "export to encrypt": ("GET", "export/encryption-key/{}", {}),
    "export to sign": ("GET", "export/signing-key/{}", {}),
    "export to hash": ("GET", "export/hmac-key/{}", {}),
    "export a version": ("GET", "export/hmac-key/{}/1", {}),
    "export wrapped": ("GET", "byok-export/{}/{}", {}),
    "back up": ("GET", "backup/{}", {}),
    "rotate": ("POST", "keys/{}/rotate", {}),
    "configure": ("POST", "keys/{}/config", {"deletion_allowed": True}),
    "make exportable": (
        "POST", "keys/{}/config", {"exportable": True, "allow_plaintext_backup": True}),
    "trim": ("POST", "keys/{}/trim", {"min_available_version": 1}),
    "make": ("POST", "keys/{}", {"type": "aes256-gcm96"}),
    "soft-delete": ("DELETE", "keys/{}/soft-delete", {}),
    "delete": ("DELETE", "keys/{}", {}),
}  # fmt: skip

# What the design grants, and nothing more.
_WRAPS = ("wrapped", "encrypt", "encrypt a batch", "decrypt", "decrypt a batch")
LEGAL: Mapping[str, frozenset[tuple[str, str]]] = {
    **{
        f"worker-{c}": frozenset(
            (key, use)
            for key in (f"piivault-{c}", f"piivault-{c}.audit")
            for use in (*_WRAPS, "rewrap")
        )
        | {(f"piivault-{c}.signing", use) for use in ("sign", "read", "read for a context")}
        for c in COMPARTMENTS
    },
    "broker": frozenset(
        {
            ("piivault-pseudonym", "hmac"),
            ("piivault-capability", "sign"),
            ("piivault-capability", "read"),
            ("piivault-capability", "read for a context"),
            ("piivault.broker", "wrapped"),
            ("piivault.broker", "decrypt"),
            ("piivault.broker", "decrypt a batch"),
        }
    ),
    "auditor": frozenset(
        {(f"piivault-{c}.audit", use) for c in COMPARTMENTS for use in _WRAPS[3:]}
        | {("piivault.broker", use) for use in _WRAPS[3:]}
        | {("piivault-audit", u) for u in ("sign", "read", "read for a context")}
    ),
}

# Beside the keys. {role}: another process's AppRole. Reads work for root; what changes the server
# isn't sent as root.
ELSEWHERE: Mapping[str, Operation] = {
    "list keys": ("LIST", "transit/keys", {}),
    "make a key": ("POST", "transit/keys/piivault-mine", {"exportable": True}),
    "make a key by encrypting": (
        "POST", "transit/encrypt/piivault-mine", {"plaintext": INPUT, "context": INPUT}),
    "restore a key": ("POST", "transit/restore/piivault-mine", {"backup": INPUT}),
    "import a key": ("POST", "transit/keys/piivault-mine/import", {"ciphertext": INPUT}),
    "allow keys by encrypting": ("POST", "transit/config/keys", {"disable_upsert": False}),
    "read how keys are made": ("GET", "transit/config/keys", {}),
    "read the wrapping key": ("GET", "transit/wrapping_key", {}),
    "read the cache": ("GET", "transit/cache-config", {}),
    "random bytes": ("POST", "transit/random", {}),
    "read a policy": ("GET", "sys/policies/acl/{role}", {}),
    "list policies": ("LIST", "sys/policies/acl", {}),
    "write its policy": (
        "POST", "sys/policies/acl/{own}", {"policy": 'path "*" {capabilities = ["sudo"]}'}),
    "write its policy the old way": (
        "POST", "sys/policy/{own}", {"policy": 'path "*" {capabilities = ["sudo"]}'}),
    "list AppRoles": ("LIST", "auth/approle/role", {}),
    "read an AppRole": ("GET", "auth/approle/role/{role}", {}),
    "read its own AppRole": ("GET", "auth/approle/role/{own}", {}),
    "give its AppRole a policy": (
        "POST", "auth/approle/role/{own}", {"token_policies": ["{role}"]}),
    "make an AppRole": ("POST", "auth/approle/role/mine", {"token_policies": ["{role}"]}),
    "read a role id": ("GET", "auth/approle/role/{role}/role-id", {}),
    "draw a secret id": ("POST", "auth/approle/role/{role}/secret-id", {}),
    "draw another of its own": ("POST", "auth/approle/role/{own}/secret-id", {}),
    "choose a secret id": (
        "POST", "auth/approle/role/{role}/custom-secret-id", {"secret_id": "attack-attack"}),
    "list secret ids": ("LIST", "auth/approle/role/{role}/secret-id", {}),
    "look a secret id up": (
        "POST", "auth/approle/role/{role}/secret-id/lookup", {"secret_id": INPUT}),
    "make a token": ("POST", "auth/token/create", {}),
    "make a root token": ("POST", "auth/token/create", {"policies": ["root"]}),
    "make an orphan": ("POST", "auth/token/create-orphan", {}),
    "make a token by a role": ("POST", "auth/token/create/mine", {}),
    "write a token role": ("POST", "auth/token/roles/mine", {"allowed_policies": ["root"]}),
    "list tokens": ("LIST", "auth/token/accessors", {}),
    "mount an engine": ("POST", "sys/mounts/mine", {"type": "transit"}),
    "tune the engine": ("POST", "sys/mounts/transit/tune", {"description": "mine"}),
    "move the engine": ("POST", "sys/remount", {"from": "transit", "to": "mine"}),
    "list mounts": ("GET", "sys/mounts", {}),
    "list logins": ("GET", "sys/auth", {}),
    "enable a login": ("POST", "sys/auth/mine", {"type": "userpass"}),
    "list audit devices": ("GET", "sys/audit", {}),
    "enable an audit device": (
        "POST", "sys/audit/mine", {"type": "file", "options": {"file_path": "/dev/null"}}),
    "read the storage": ("GET", "sys/raw/core/keyring", {}),
    "copy the storage": ("GET", "sys/storage/raft/snapshot", {}),
    "replace the storage": ("POST", "sys/storage/raft/snapshot-force", {}),
    "read peers": ("GET", "sys/storage/raft/configuration", {}),
    "remove a peer": ("POST", "sys/storage/raft/remove-peer", {"server_id": "dev"}),
    "seal it": ("POST", "sys/seal", {}),
    "step down": ("POST", "sys/step-down", {}),
    "rotate the barrier": ("POST", "sys/rotate", {}),
    "list leases": ("LIST", "sys/leases/lookup/", {}),
    "revoke logins": ("POST", "sys/leases/revoke-prefix/auth/approle", {}),
    "read the server's configuration": ("GET", "sys/config/state/sanitized", {}),
    "read requests in flight": ("GET", "sys/in-flight-req", {}),
    "read a profile": ("GET", "sys/pprof/goroutine", {}),
    "read metrics": ("GET", "sys/metrics", {}),
    "read what it may": ("POST", "sys/capabilities-self", {"paths": ["*"]}),
    "wrap an answer": ("POST", "sys/wrapping/wrap", {"a": "b"}),
    "keep a note": ("POST", "cubbyhole/mine", {"a": "b"}),
    "join an entity": ("POST", "identity/entity", {"name": "mine"}),
    "group logins": ("POST", "identity/group", {"name": "mine", "policies": ["root"]}),
    "issue a certificate": (
        "POST", "pki/issue/piivault-clients", {"uri_sans": "spiffe://oshto.kg/orders"}),
    "sign a certificate": ("POST", "pki/sign/piivault-clients", {"csr": INPUT}),
    "sign any": ("POST", "pki/sign-verbatim", {"csr": INPUT}),
    "make another authority": ("POST", "pki/root/generate/exported", {"common_name": "mine"}),
    "list certificates": ("LIST", "pki/certs", {}),
    "take a namespace": ("POST", "sys/namespaces/mine", {}),
}  # fmt: skip

# Ways to write the path of a key that the login may not use, so that its policy might not know it.
DISGUISES = (
    "transit/{use}/{KEY}",
    "Transit/{use}/{key}",
    "transit//{use}/{key}",
    "./transit/{use}/{key}",
    "transit/{use}/{own}/../{key}",
    "transit/{use}/{own}/%2e%2e/{key}",
    "transit/{use}/{own}%2f..%2f{key}",
    "transit/{use}/{own}%00{key}",
    "transit/{use}/{key}/",
    "transit/{use}%2f{key}",
    "transit/{use}/%70{rest}",
    "transit/{use}/{key}%20",
    "transit/{use}/{own}?name={key}",
)
