"""Two officers, and how they act, in a house of a test's own."""

import time
from collections.abc import Callable

from piivault.officers import OfficersClient

from tests.house import POLICY, House
from tests.policies import successor
from vault.dev.local import officer_signs
from vault.service.ledger import EDITION, statement

WITHIN = 2.0  # seconds: what the documentation promises


class Office:
    """Two officers, and how they act."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.text = POLICY.read_text(encoding="utf-8")

    def approve(self, kind: str, body: bytes, *officers: str) -> bool:
        """Have officers approve; return whether the entry is in effect."""
        done = False
        for officer in officers:
            with OfficersClient.from_env(self.house.environment(f"officer-{officer}")) as control:
                signature = self.signs(officer, statement(kind, body))
                done = control.approve(kind, body, officer, signature).effective
        return done

    def signs(self, officer: str, data: bytes) -> bytes:
        """Return an officer's signature over anything."""
        return officer_signs(self.house.running, officer)(data)

    def publish(self, *changes: tuple[str, str]) -> None:
        """Publish the next edition, and wait until it is in force everywhere."""
        self.text = successor(self.text, *changes)
        assert self.approve(EDITION, self.text.encode(), "aida", "bakyt")
        self.wait_for(lambda: self.number() == self.text.split("edition: ", 1)[1].split("\n")[0])

    def number(self) -> str:
        """Return the number of the edition that a reading service is decided under."""
        support = self.house.client("support").compartment("accounts", purpose="account")
        return str(support.describe().edition)

    @staticmethod
    def wait_for(holds: Callable[[], bool]) -> None:
        """Wait until something holds, at most for as long as is promised."""
        began = time.monotonic()
        while not holds():
            assert time.monotonic() - began < WITHIN, "not within the time promised"
            time.sleep(0.05)
