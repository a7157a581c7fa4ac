"""A bar that says how far a pass has come, how fast it goes and how long it will take.

On a terminal one line is drawn over; elsewhere a line is written now and then, so that a log stays
short. It measures nothing: what is done and left is handed in.
"""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from exporter.app.single import PassProgress

_WIDTH: Final = 24
# The rate is that of the last minute: a pass goes at the pace of the API's budget.
_WINDOW_S: Final = 60.0
_EVERY_S_IN_A_LOG: Final = 30.0
_HOUR_S: Final = 3600


class ProgressBar:
    """Draws the progress of one pass on a stream; `monotonic_s` tells the time."""

    def __init__(
        self, stream: TextIO, *, monotonic_s: Callable[[], float], what: str = "traces"
    ) -> None:
        self._stream = stream
        self._monotonic_s = monotonic_s
        self._what = what
        self._seen: deque[tuple[float, int]] = deque()
        self._written_s = float("-inf")
        self._longest = 0

    def show(self, progress: "PassProgress") -> None:
        """Draw how far it has come."""
        now_s = self._monotonic_s()
        self._seen.append((now_s, progress.done))
        while now_s - self._seen[0][0] > _WINDOW_S:
            self._seen.popleft()
        if self._stream.isatty():
            line = progress_line(progress, self._rate(), what=self._what)
            self._longest = max(self._longest, len(line))
            self._stream.write(f"\r{line:<{self._longest}}")
            self._stream.flush()
        elif now_s - self._written_s >= _EVERY_S_IN_A_LOG:
            self._written_s = now_s
            self._stream.write(f"{progress_line(progress, self._rate(), what=self._what)}\n")
            self._stream.flush()

    def finish(self) -> None:
        """Leave the last state standing."""
        if self._stream.isatty() and self._longest:
            self._stream.write("\n")

    def _rate(self) -> float:
        """Traces a minute."""
        (first_s, first), (last_s, last) = self._seen[0], self._seen[-1]
        return 60 * (last - first) / (last_s - first_s) if last_s > first_s else 0.0


def progress_line(progress: "PassProgress", rate: float, *, what: str = "traces") -> str:
    """The bar and its figures; `rate` is traces a minute."""
    total = progress.done + progress.left
    share = progress.done / total if total else 0.0
    bar = "#" * round(_WIDTH * share)
    line = f"[{bar:-<{_WIDTH}}] {progress.done:,} of {total:,} {what}, {rate:.0f}/min"
    if progress.reading_lists:
        return f"{line}, still reading lists"
    if progress.left and rate > 0:
        return f"{line}, {_duration(60 * progress.left / rate)} left"
    return line


def _duration(seconds: float) -> str:
    minutes, whole_seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{whole_seconds:02d}"
