"""SIGTERM, SIGHUP and Ctrl-C: the process ends in an orderly way within ten seconds.

Imports nothing heavy: process 1 of a container has no handlers of its own, and whatever arrived
while the rest is imported would be lost.
"""

import os
import signal
import threading
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine
    from types import FrameType

T = TypeVar("T")

# Ten seconds is what a container engine leaves between SIGTERM and SIGKILL.
_DEADLINE_S: Final = 9.5


class Signals:
    """What the first signal does; those that follow change nothing."""

    def __init__(self) -> None:
        self._stop: Callable[[], object] = self._end_now
        self._arrived = False
        self._code_if_cut_off = 1

    def install(self, *, code_if_cut_off: int) -> None:
        """Until `run`, and outside of it, SIGTERM and SIGHUP end the process at once.

        What is cut off ends with `code_if_cut_off`: to a daemon the signal is its end, and whatever
        was to do something has not done it. A SIGHUP that is ignored, as under nohup, stays
        ignored.
        """
        self._code_if_cut_off = code_if_cut_off
        signal.signal(signal.SIGTERM, self._handle)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self._handle)

    def run(self, work: "Callable[[asyncio.Event], Coroutine[Any, Any, T]]") -> T:
        """Run `work` in an event loop; a signal, Ctrl-C among them, sets the event it is given.

        What has not ended ten seconds after the signal is ended with the process.
        """
        import asyncio  # noqa: PLC0415 - heavy: the handlers stand first

        stop = asyncio.Event()
        with asyncio.Runner() as runner:
            loop = runner.get_loop()
            self._stop = lambda: loop.call_soon_threadsafe(stop.set)
            interrupt = signal.signal(signal.SIGINT, self._handle)
            try:
                return runner.run(work(stop))
            finally:
                # From here on the process is ending anyway.
                self._stop = _go_on
                signal.signal(signal.SIGINT, interrupt)

    def end_in_time(self, code: int) -> None:
        """End the process with `code` in ten seconds, whatever it is at then."""
        deadline = threading.Timer(_DEADLINE_S, os._exit, args=(code,))
        deadline.daemon = True
        deadline.start()

    def _handle(self, _number: int, _frame: "FrameType | None") -> None:
        if self._arrived:
            return
        self._arrived = True
        self.end_in_time(self._code_if_cut_off)
        self._stop()

    def _end_now(self) -> None:
        raise SystemExit(self._code_if_cut_off)


def _go_on() -> None:
    """Do nothing."""


SIGNALS: Final = Signals()
