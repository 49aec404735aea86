"""What an officer does at the key server, under the officer's own login. No process may.

rotate      a new version of a Transit key, which wraps from then on
retire      versions below one wrap and open nothing any more, and are trimmed away for ever
"""

from dataclasses import dataclass

from vault.keys.transit import Transit


@dataclass(frozen=True, slots=True)
class TransitVersions:
    """The versions of a Transit key: the newest, and the oldest that the key server still has."""

    newest: int
    oldest: int


class TransitOfficer:
    """Rotates and trims Transit keys. All of it blocks, and raises KeyServerError."""

    def __init__(self, transit: Transit) -> None:
        self._transit = transit

    def versions(self, key: str) -> TransitVersions:
        """Return which versions there are."""
        found = self._transit.read(self._path(key))["data"]
        return TransitVersions(found["latest_version"], max(found["min_available_version"], 1))

    def rotate(self, key: str) -> int:
        """Begin a new version and return it."""
        self._transit.write(self._path(key, "rotate"))
        return self.versions(key).newest

    def retire(self, key: str, below: int) -> None:
        """Have no version below this one wrap or open anything, then trim them away for ever."""
        if self.versions(key).oldest >= below:
            return
        # Raw, and in one call: hvac refuses equal minimum versions, and trimming needs both.
        minimum = {"min_decryption_version": below, "min_encryption_version": below}
        self._transit.write(self._path(key, "config"), **minimum)
        self._transit.write(self._path(key, "trim"), min_available_version=below)

    def public_keys(self, key: str) -> dict[int, bytes]:
        """Return the public keys of an ed25519 key, by version."""
        return self._transit.public_keys(key)

    def _path(self, key: str, what: str = "") -> str:
        return f"{self._transit.mount}/keys/{key}" + (f"/{what}" if what else "")
