"""A token bucket: so many requests at once, and one more each interval."""

from exporter.clock import Clock
from exporter.web.config import RateLimit


class TokenBucket:
    """Full at the start; counts on the monotonic clock."""

    def __init__(self, limit: RateLimit, *, clock: Clock) -> None:
        self.limit = limit
        self._clock = clock
        self._tokens = float(limit.burst)
        self._seen_s = clock.monotonic_s()

    def take(self) -> bool:
        """Whether one more request is within the limit."""
        now_s = self._clock.monotonic_s()
        gained = (now_s - self._seen_s) / self.limit.interval_s
        self._tokens = min(float(self.limit.burst), self._tokens + gained)
        self._seen_s = now_s
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
