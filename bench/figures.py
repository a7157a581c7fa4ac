"""A measured figure, the bound it has to reach, and the table that shows them; measures nothing."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

_SIGNS: Final = {"most": "<=", "least": ">="}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """What a figure has to reach: at most, or at least, so much."""

    kind: Literal["most", "least"]
    value: float

    def holds(self, measured: float) -> bool:
        """Whether a figure reaches it."""
        return measured <= self.value if self.kind == "most" else measured >= self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table. `bound` None: reported, nothing to reach."""

    what: str
    measured: float
    unit: str = ""
    bound: Bound | None = None
    limit: str = ""
    note: str = ""

    @property
    def verdict(self) -> str:
        """`ok`, `MISSED`, or nothing where there is no bound."""
        if self.bound is None:
            return ""
        return "ok" if self.bound.holds(self.measured) else "MISSED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """A named measurement; `measure` yields its figures, with `quick` from smaller sizes."""

    name: str
    about: str
    measure: Callable[[bool], Iterator[Figure]]

    @property
    def command(self) -> str:
        """What measures it again."""
        return f"python -m bench {self.name}"


def at_most(value: float) -> Bound:
    """A bound from above."""
    return Bound(kind="most", value=value)


def at_least(value: float) -> Bound:
    """A bound from below."""
    return Bound(kind="least", value=value)


def render(rows: Iterable[tuple[Benchmark, Figure]]) -> str:
    """The figures as a table in Markdown."""
    head = ("figure", "measured", "to reach", "", "limit", "command")
    cells = [
        (
            figure.what,
            _number(figure.measured, figure.unit),
            "" if figure.bound is None else _bound(figure.bound, figure.unit),
            figure.verdict,
            figure.limit,
            f"`{benchmark.command}`",
        )
        for benchmark, figure in rows
    ]
    widths = [max(len(row[column]) for row in (head, *cells)) for column in range(len(head))]
    lines = [_line(head, widths), _line(["-" * width for width in widths], widths)]
    return "\n".join([*lines, *(_line(row, widths) for row in cells)])


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which this share of the values lies; nan where there is none."""
    if not values:
        return float("nan")
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(len(ranked) * share))]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return (
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        + " |"
    )


def _bound(bound: Bound, unit: str) -> str:
    return f"{_SIGNS[bound.kind]} {bound.value:,g}{_suffix(unit)}"


def _number(value: float, unit: str) -> str:
    if value == int(value) and abs(value) < 1e15:
        return f"{value:,.0f}{_suffix(unit)}"
    digits = max(0, 4 - len(str(int(abs(value)))))
    return f"{value:,.{digits}f}{_suffix(unit)}"


def _suffix(unit: str) -> str:
    return f" {unit}" if unit else ""
