"""How a process makes itself known to the key server."""

from dataclasses import dataclass, field
from pathlib import Path

from vault.keys.errors import KeyServerForbidden


@dataclass(frozen=True, slots=True)
class AppRole:
    """A login by AppRole; both files are read anew at each login."""

    role_id_file: Path
    secret_id_file: Path

    def fields(self) -> dict[str, str]:
        """Return what is sent to log in; raise KeyServerForbidden if a file can't be read."""
        return {"role_id": _line(self.role_id_file), "secret_id": _line(self.secret_id_file)}


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it is: never renewed, nothing to log in with. Empty: no token at all."""

    token: str = field(repr=False)


def _line(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except OSError as e:
        why = e.strerror
    except UnicodeDecodeError:
        why = "not one line of ASCII"
    raise KeyServerForbidden(
        f"log in: {file} can't be read ({why}). `piivault setup` writes these files."
    )
