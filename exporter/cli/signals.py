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
        self._stop: Callable[[], object] = _end_now
        self._arrived = False
        self._code_if_late = 0

    def install(self) -> None:
        """Until `run`, and outside of it, SIGTERM and SIGHUP end the process at once, with 0.

        A SIGHUP that is ignored, as under nohup, stays ignored.
        """
        signal.signal(signal.SIGTERM, self._handle)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self._handle)

    def run(
        self, work: "Callable[[asyncio.Event], Coroutine[Any, Any, T]]", *, code_if_late: int = 0
    ) -> T:
        """Run `work` in an event loop; a signal, Ctrl-C among them, sets the event it is given.

        What has not ended ten seconds after the signal is ended with the process, with
        `code_if_late`.
        """
        import asyncio  # noqa: PLC0415 - heavy: the handlers stand first

        self._code_if_late = code_if_late
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

    def _handle(self, _number: int, _frame: "FrameType | None") -> None:
        if self._arrived:
            return
        self._arrived = True
        deadline = threading.Timer(_DEADLINE_S, os._exit, args=(self._code_if_late,))
        deadline.daemon = True
        deadline.start()
        self._stop()


def _end_now() -> None:
    raise SystemExit(0)


def _go_on() -> None:
    """Do nothing."""


SIGNALS: Final = Signals()
