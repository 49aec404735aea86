"""Rate limits: a token bucket a key, in memory."""

import time
from collections.abc import Callable, Hashable

from vault.errors import Reason, VaultError


class Limiter:
    """Allows `per_second` on average and twice that at once, for each key."""

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = per_second
        self._burst = max(1.0, 2 * per_second)
        self._clock = clock
        self._buckets: dict[Hashable, tuple[float, float]] = {}  # tokens, when

    def take(self, key: Hashable) -> None:
        """Take one; raise VaultError(RATE_LIMITED) saying when there is one again."""
        now = self._clock()
        tokens, then = self._buckets.get(key, (self._burst, now))
        tokens = min(self._burst, tokens + (now - then) * self._rate)
        if tokens < 1:
            wait = (1 - tokens) / self._rate
            self._buckets[key] = (tokens, now)
            raise VaultError(
                Reason.RATE_LIMITED,
                f"Too often: come back in {wait:.1f} s.",
                retry_after=wait,
            )
        self._buckets[key] = (tokens - 1, now)
