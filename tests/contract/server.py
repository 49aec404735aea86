"""The key server that the contract is tried on: OpenBao of the wheel, or a team's own.

    PIIVAULT_TEST_KEY_SERVER_URL      https://…; without it, OpenBao is started here
    PIIVAULT_TEST_KEY_SERVER_TOKEN    may mount, write policies, make tokens
    PIIVAULT_TEST_KEY_SERVER_CA       a file; the CA of its certificate

All that is made has a name of its own, `piivault-contract-…`, and is removed at the end.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from vault.dev import openbao
from vault.dev.layout import Layout
from vault.keys.errors import KeyServerError
from vault.keys.login import AppRole, Token
from vault.keys.transit import Transit

VARIABLES = "PIIVAULT_TEST_KEY_SERVER_"


class Contract:
    """A mount of its own at the key server, under a token that may do all there."""

    def __init__(self, address: str, ca: Path, token: str) -> None:
        self.address, self.ca = address, ca
        self.name = f"piivault-contract-{secrets.token_hex(6)}"
        self.admin = Transit(address, ca, Token(token), self.name, timeout=openbao.PATIENCE)
        self._policies: list[str] = []
        self._opened: list[Transit] = []
        self._accessors: list[str] = []

    def set_up(self) -> None:
        self.admin.write(f"sys/mounts/{self.name}", type="transit")
        self.admin.write(f"sys/auth/{self.name}", type="approle")

    def key(self, **fields: Any) -> str:
        """Make a key, as a compartment's unless it is said how; return its name."""
        name = f"key-{secrets.token_hex(6)}"
        self.admin.write(self.path(name), **(fields or {"type": "aes256-gcm96", "derived": True}))
        return name

    def path(self, key: str, what: str = "") -> str:
        return f"{self.name}/keys/{key}" + (f"/{what}" if what else "")

    def read(self, key: str) -> dict[str, Any]:
        found: dict[str, Any] = self.admin.read(self.path(key))["data"]
        return found

    def policy(self, text: str) -> str:
        name = f"{self.name}-{len(self._policies)}"
        self.admin.write(f"sys/policies/acl/{name}", policy=text)
        self._policies.append(name)
        return name

    def under(self, policy: str) -> Transit:
        """Log in with a token that may do what a policy says."""
        fields = {"policies": [self.policy(policy)], "no_default_policy": True, "ttl": "10m"}
        made = self.admin.write("auth/token/create", **fields)["auth"]
        self._accessors.append(made["accessor"])
        return self.open(Token(made["client_token"]))

    def open(self, login: AppRole | Token) -> Transit:
        transit = Transit(self.address, self.ca, login, self.name, timeout=openbao.PATIENCE)
        self._opened.append(transit)
        return transit

    def has_soft_delete(self, key: str) -> bool:
        """Ask whether this server knows soft deletion: OpenBao does, HashiCorp Vault doesn't."""
        return "soft_deleted" in self.read(key)

    def tear_down(self) -> None:
        for transit in self._opened:
            transit.close()
        for accessor in self._accessors:
            with suppress(KeyServerError):  # some ended by themselves
                self.admin.write("auth/token/revoke-accessor", accessor=accessor)
        for policy in self._policies:
            self.admin.delete(f"sys/policies/acl/{policy}")
        self.admin.delete(f"sys/auth/{self.name}")
        self.admin.delete(f"sys/mounts/{self.name}")

    def leftovers(self) -> list[str]:
        """Return what bears its name at the key server."""
        kinds = ("mounts", "auth")
        found = [m for kind in kinds for m in self.admin.read(f"sys/{kind}")["data"]]
        found += self.admin.names("sys/policies/acl")
        return [name for name in found if name.startswith(self.name)]


@contextmanager
def started(folder: Path) -> Iterator[Contract]:
    """Open the key server that the environment names, or start one in a folder."""
    given = {key: os.environ.get(VARIABLES + key, "") for key in ("URL", "TOKEN", "CA")}
    if given["URL"]:
        yield Contract(given["URL"], Path(given["CA"]), given["TOKEN"])
        return
    layout = Layout(folder)
    layout.open()
    bao = openbao.OpenBao(layout, shamir=True)
    try:
        bao.start().close()
        yield Contract(bao.address, bao.ca, bao.root_token_file.read_text().strip())
    finally:
        bao.stop()
        layout.close()
