"""How a process makes itself known to the key server. Files are read anew at each login.

AppRole     a role id, and a secret id that the security team hands over
Jwt         a token of an identity provider, or of Kubernetes for a service account
TokenFile   a token of the key server that somebody else keeps fresh, such as its agent
Token       a token as it is
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from vault.keys.errors import KeyServerForbidden


class Http(Protocol):
    """What logging in needs of the connection to the key server; an answer is parsed JSON."""

    def get(self, url: str, **options: Any) -> Any:
        """Send a GET."""

    def post(self, url: str, **options: Any) -> Any:
        """Send a POST."""


class Login(Protocol):
    """A way to get a token."""

    @property
    def name(self) -> str:
        """What an error calls it: a role or a file, never a secret."""

    @property
    def advice(self) -> str:
        """What to do if the key server refuses it."""

    @property
    def files(self) -> Sequence[Path]:
        """What it reads."""

    def obtain(self, http: Http) -> tuple[str, float]:
        """Return a token and the seconds that it lives, 0 for always.

        Raises KeyServerForbidden if a file can't be read, and what the connection raises.
        """


@dataclass(frozen=True, slots=True)
class AppRole:
    """A login by AppRole."""

    role_id_file: Path
    secret_id_file: Path
    mount: str = "approle"

    @property
    def name(self) -> str:
        """The role id's file."""
        return self.role_id_file.name

    @property
    def advice(self) -> str:
        """The secret id is spent, expired or revoked."""
        return "Have a new secret id issued (`piivault setup`)."

    @property
    def files(self) -> Sequence[Path]:
        """Those of both ids."""
        return self.role_id_file, self.secret_id_file

    def obtain(self, http: Http) -> tuple[str, float]:
        """Log in with the two ids."""
        ids = {"role_id": _line(self.role_id_file), "secret_id": _line(self.secret_id_file)}
        return _post(http, self.mount, ids)


@dataclass(frozen=True, slots=True)
class Jwt:
    """A login by JWT; a Kubernetes service account's goes the same way to another mount."""

    role: str
    jwt_file: Path
    mount: str = "jwt"

    @property
    def name(self) -> str:
        """The role at the key server."""
        return f"the role {self.role} of auth/{self.mount}"

    @property
    def advice(self) -> str:
        """The token, the role, or both."""
        return (
            f"Check that the token in {self.jwt_file} hasn't expired, and has the issuer, "
            "audience and subject that the role asks for."
        )

    @property
    def files(self) -> Sequence[Path]:
        """That of the token."""
        return (self.jwt_file,)

    def obtain(self, http: Http) -> tuple[str, float]:
        """Log in with the token under the role."""
        return _post(http, self.mount, {"role": self.role, "jwt": _line(self.jwt_file)})


@dataclass(frozen=True, slots=True)
class TokenFile:
    """A token in a file: renewed as long as the key server grants it, then read anew."""

    file: Path

    @property
    def name(self) -> str:
        """The file."""
        return self.file.name

    @property
    def advice(self) -> str:
        """Nobody keeps it fresh."""
        return f"Check that whoever keeps {self.file} fresh is running."

    @property
    def files(self) -> Sequence[Path]:
        """That of the token."""
        return (self.file,)

    def obtain(self, http: Http) -> tuple[str, float]:
        """Read the token, and ask how long it lives."""
        token = _line(self.file)
        said = http.get("/v1/auth/token/lookup-self", headers={"X-Vault-Token": token})
        return token, float(said["data"]["ttl"])


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it is: never renewed, nothing to log in with. Empty: no token at all."""

    token: str = field(repr=False)


class Refused:
    """How long a login that was refused isn't tried again: another file is, at once.

    Both servers lock a role out that was refused five times within 15 minutes (`sys/locked-users`),
    good ids too. So it is tried again after a minute, then once in a longer time than they count.
    """

    _PAUSES = (60.0, 960.0)  # seconds

    def __init__(self) -> None:
        self._files: object = None
        self._times, self._at = 0, 0.0

    def holds(self, login: Login) -> bool:
        """Tell whether it is too early to try again."""
        if not self._times or _stamp(login) != self._files:
            return False
        pause = self._PAUSES[min(self._times, len(self._PAUSES)) - 1]
        return time.monotonic() < self._at + pause

    def note(self, login: Login) -> None:
        """Note that it was refused now."""
        files = _stamp(login)
        self._times = self._times + 1 if files == self._files else 1
        self._files, self._at = files, time.monotonic()

    def forget(self) -> None:
        """Note that it was let in."""
        self._times = 0


def _stamp(login: Login) -> object:
    try:
        return [(stat.st_ino, stat.st_mtime_ns) for stat in (f.stat() for f in login.files)]
    except OSError:
        return None


def _post(http: Http, mount: str, fields: dict[str, str]) -> tuple[str, float]:
    auth = http.post(f"/v1/auth/{mount}/login", json=fields)["auth"]
    return auth["client_token"], float(auth["lease_duration"])


def _line(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except OSError as e:
        why = e.strerror
    except UnicodeDecodeError:
        why = "not one line of ASCII"
    raise KeyServerForbidden(
        f"log in: {file} can't be read ({why}). Check `login` in the configuration; "
        "`piivault setup` says where its files come from."
    )
