"""The committed totals in memory: what /metrics shows, without touching the file.

A transaction collects its additions in a `TotalsDelta`; they are written in that transaction and
applied here only after its commit. Sums are exact: integers and decimals, never floats.
"""

from collections.abc import Iterable, Iterator
from decimal import Context, Decimal
from typing import Final, NamedTuple

Number = int | Decimal

# Wide enough that no sum of money is ever rounded: 40 decimal places and a million million dollars.
_EXACT: Final = Context(prec=80)


class TotalKey(NamedTuple):
    """One sum: its family, the agent's number (0: whole exporter) and up to two labels."""

    family: str
    agent_no: int = 0
    label1: str = ""
    label2: str = ""


class TotalsDelta:
    """What one transaction adds."""

    def __init__(self) -> None:
        self.sums: dict[TotalKey, Number] = {}
        self.maxima: dict[TotalKey, int] = {}

    def add(self, key: TotalKey, amount: Number) -> None:
        """Add to a sum; adding zero makes the series exist."""
        before = self.sums.get(key)
        self.sums[key] = amount if before is None else _plus(before, amount)

    def raise_to(self, key: TotalKey, value: int) -> None:
        """Keep the largest value seen."""
        self.maxima[key] = max(value, self.maxima.get(key, value))


class Totals:
    """Every sum as last committed."""

    def __init__(self, rows: Iterable[tuple[TotalKey, str]] = ()) -> None:
        self._values: dict[TotalKey, Number] = {key: _parse(text) for key, text in rows}

    def get(self, key: TotalKey) -> Number:
        """The sum, zero if nothing was ever added."""
        return self._values.get(key, 0)

    def items(self) -> Iterator[tuple[TotalKey, Number]]:
        """A snapshot that later commits do not disturb."""
        return iter(list(self._values.items()))

    def after(self, delta: TotalsDelta) -> dict[TotalKey, Number]:
        """The new values of everything that `delta` touches, nothing applied yet."""
        values = {key: _plus(self.get(key), amount) for key, amount in delta.sums.items()}
        for key, value in delta.maxima.items():
            values[key] = max(value, int(self.get(key)))
        return values

    def apply(self, values: dict[TotalKey, Number]) -> None:
        """Take over what a commit has made true."""
        self._values.update(values)


def _plus(left: Number, right: Number) -> Number:
    if isinstance(left, int) and isinstance(right, int):
        return left + right
    return _EXACT.add(Decimal(left), Decimal(right))


def _parse(text: str) -> Number:
    return int(text) if text.lstrip("-").isdigit() else Decimal(text)


def number_to_text(value: Number) -> str:
    """The text that is stored; never scientific, so that every database reads it alike."""
    return str(value) if isinstance(value, int) else format(value, "f")
