"""How many connections there may be, and which one goes when there are too many.

Connections that wait (for a handshake, a request, the next request) give way to new ones, the
oldest first, so that a crowd of silent clients cannot keep a scraper out. Connections whose
request is being answered never do.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class WebLimits:
    """What one client, and all of them together, may take."""

    connections: int = 64
    # From the connection, or the first byte of a further request, to the end of its header.
    header_s: float = 10.0
    # From the end of the header until the client has taken the whole answer.
    response_s: float = 30.0
    # Longer than the usual scrape intervals: a scraper keeps its connection.
    keep_alive_s: int = 75
    header_bytes: int = 16 * 1024
    target_bytes: int = 2048
    # How long answers under way may take when the server stops.
    drain_s: float = 2.0


# More than this wait in the kernel, where they cost us nothing.
BACKLOG: Final = 128


class Slot:
    """The place of one connection in the table; `leave` may be called more than once."""

    __slots__ = ("_table", "busy", "close")

    def __init__(self, table: "ConnectionTable", close: Callable[[], None]) -> None:
        self._table = table
        self.close = close
        self.busy = False

    def work(self) -> None:
        """A request is being answered."""
        self.busy = True

    def rest(self) -> None:
        """The connection waits for its client."""
        self.busy = False
        self._table.renew(self)

    def leave(self) -> None:
        """The connection is gone."""
        self._table.remove(self)


class ConnectionTable:
    """All connections, in the order in which they began to wait."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._slots: dict[Slot, None] = {}
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._slots)

    def enter(self, close: Callable[[], None]) -> Slot | None:
        """A place for a connection; None when all are busy. `close` ends it at once."""
        if len(self._slots) >= self._most and not self._evict():
            return None
        slot = Slot(self, close)
        self._slots[slot] = None
        self._empty.clear()
        return slot

    def renew(self, slot: Slot) -> None:
        """Put a connection behind all others that wait."""
        if slot in self._slots:
            del self._slots[slot]
            self._slots[slot] = None

    def remove(self, slot: Slot) -> None:
        """Forget a connection."""
        self._slots.pop(slot, None)
        if not self._slots:
            self._empty.set()

    def close_all(self) -> None:
        """End every connection."""
        for slot in list(self._slots):
            self.remove(slot)
            slot.close()

    async def emptied(self) -> None:
        """Wait until there is no connection."""
        await self._empty.wait()

    def _evict(self) -> bool:
        for slot in self._slots:
            if not slot.busy:
                self.remove(slot)
                slot.close()
                return True
        return False
