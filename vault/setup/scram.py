"""A password as PostgreSQL stores it, so that it never sees the password itself."""

import base64
import hashlib
import hmac
import secrets


def verifier(password: str, rounds: int = 4096) -> str:
    """Write the SCRAM-SHA-256 verifier of a password (RFC 5802)."""
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, rounds)
    client = hmac.digest(salted, b"Client Key", "sha256")
    server = hmac.digest(salted, b"Server Key", "sha256")
    parts = (salt, hashlib.sha256(client).digest(), server)
    encoded = [base64.b64encode(part).decode() for part in parts]
    return f"SCRAM-SHA-256${rounds}:{encoded[0]}${encoded[1]}:{encoded[2]}"
