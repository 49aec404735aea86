"""The key server as an attacker asks it: any method, any path, under a token; the bare status.

The server's own `Transit` logs in anew when it is forbidden something; here a 403 is a 403.
"""

import base64
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import requests

from tests.split import SplitHouse
from tests.wire import PATIENCE

FORBIDDEN = 403


class Caller:
    """One token, or none, and a connection that is kept open."""

    def __init__(self, house: SplitHouse, token: str = "") -> None:
        self._base = f"{house.running.key_server}/v1/"
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.verify = str(house.running.key_server_ca)
        self._session.headers["X-Vault-Token"] = token

    def ask(self, method: str, path: str, fields: Mapping[str, Any] | None = None) -> int:
        """Send a request and return its status."""
        return self.answer(method, path, fields).status_code

    def answer(
        self, method: str, path: str, fields: Mapping[str, Any] | None = None
    ) -> requests.Response:
        """Send a request and return the answer; the path goes out as it is written."""
        sent = requests.Request(method, self._base, headers=self._session.headers, json=fields)
        prepared = self._session.prepare_request(sent)
        prepared.url = self._base + path
        return self._session.send(prepared, timeout=PATIENCE)

    def close(self) -> None:
        """Close the connection."""
        self._session.close()


@contextmanager
def called_by(house: SplitHouse, process: str) -> Iterator[Caller]:
    """Log in as a process; "root" is the administrator, "nobody" has no token."""
    caller = Caller(house, _token(house, process))
    try:
        yield caller
    finally:
        caller.close()


def log_in(house: SplitHouse, role_id: str, secret_id: str) -> requests.Response:
    """Try an AppRole's ids."""
    nobody = Caller(house)
    try:
        fields = {"role_id": role_id, "secret_id": secret_id}
        return nobody.answer("POST", "auth/approle/login", fields)
    finally:
        nobody.close()


def ids_of(house: SplitHouse, process: str) -> tuple[str, str]:
    """Read what a process logs in with, as whoever breaks into it would."""
    login = house.running.app_roles[f"piivault-{process}"]
    return login.role_id_file.read_text().strip(), login.secret_id_file.read_text().strip()


def text(raw: bytes) -> str:
    """Write bytes as the key server reads them."""
    return base64.b64encode(raw).decode()


def _token(house: SplitHouse, process: str) -> str:
    if process == "nobody":
        return ""
    if process == "root":
        return (house.state / "openbao" / "root-token").read_text().strip()
    answer = log_in(house, *ids_of(house, process))
    answer.raise_for_status()
    return str(answer.json()["auth"]["client_token"])
