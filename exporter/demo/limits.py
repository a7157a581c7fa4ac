"""The rate limit: so many requests in any sixty seconds, for each workspace and each token.

The documentation says "120 requests a minute" and nothing of how the minute is counted; a strict
sliding window is the harshest reading, so what lives under it lives under every other.
"""

from collections import deque
from typing import Final

from exporter.demo.runs import SECOND_NS

_WINDOW_NS: Final = 60 * SECOND_NS


class SlidingWindow:
    """At most `limit` admissions in any sixty seconds; a refusal uses nothing up."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._admitted: deque[int] = deque()
        self.busiest = 0  # most admissions that sixty seconds have held

    def admit(self, now_ns: int) -> int | None:
        """None if the request may pass, else the whole seconds to wait for room."""
        admitted = self._admitted
        while admitted and admitted[0] <= now_ns - _WINDOW_NS:
            admitted.popleft()
        if len(admitted) >= self._limit:
            # Of a limit of zero there is never room; a minute is as good an answer as any.
            wait_ns = admitted[0] + _WINDOW_NS - now_ns if admitted else _WINDOW_NS
            return -(-wait_ns // SECOND_NS)
        admitted.append(now_ns)
        self.busiest = max(self.busiest, len(admitted))
        return None
