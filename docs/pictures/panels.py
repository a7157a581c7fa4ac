# ruff: noqa: INP001 (part of a program, no package)
"""Draws the panels of a dashboard as Grafana would lay them out, from what a Prometheus answers.

Reads the dashboard's own JSON: queries, units, thresholds, colours and places are its. It is no
Grafana: what the Overview does not use is not drawn.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any, Final

Series = tuple[Mapping[str, str], list[tuple[float, float]]]
Ask = Callable[[str, Mapping[str, Any]], Any]

WIDTH: Final = 1440
RANGE_S: Final = 7 * 86400
_COLUMN: Final = WIDTH / 24
_ROW: Final = 38
_SECONDS: Final = {"m": 60, "h": 3600, "d": 86400}
_NAMED: Final = {"green": "#73bf69", "orange": "#ff9830", "red": "#f2495c", "text": "#dcdce4"}
_CLASSIC: Final = ("#5794f2", "#37b5a6", "#b58be0", "#f0c43c", "#e88b57", "#7d8797", "#a5c8ff")
_MINUTE_S: Final = 60
_TICKS: Final = 4.5
_DIM: Final = "#8e919c"


class Panels:
    """The panels of one dashboard; `ask` is an API of Prometheus, `now_s` its present."""

    def __init__(self, board: Mapping[str, Any], *, ask: Ask, now_s: float, alerts: str) -> None:
        self._board = board
        self._ask = ask
        self._now_s = now_s
        self._alerts = alerts

    def html(self, *, until_row: int) -> Iterator[str]:
        """Each panel that begins above a row of the grid, placed."""
        for panel in self._board["panels"]:
            at = panel["gridPos"]
            if at["y"] >= until_row:
                return
            width, height = at["w"] * _COLUMN - 8, at["h"] * _ROW - 8
            place = f"left:{at['x'] * _COLUMN + 4:.0f}px;top:{at['y'] * _ROW + 4}px"
            style = f"{place};width:{width:.0f}px;height:{height}px"
            title = escape(panel["title"])
            if panel["type"] == "row":
                yield f'<h2 style="{style}">{title}</h2>'
            else:
                body = getattr(self, f"_{panel['type']}")(panel, width - 24, height - 48)
                yield f'<section style="{style}"><h3 title="{title}">{title}</h3>{body}</section>'

    def _series(self, panel: Mapping[str, Any], target: Mapping[str, Any]) -> list[Series]:
        """What a query gives: at the present, or at each step of the range."""
        interval = panel.get("interval") or "1h"
        step_s = int(interval[:-1]) * _SECONDS[interval[-1]]
        expr = target["expr"].replace("$__range", f"{RANGE_S}s")
        expr = re.sub(r"\$(job|workspace|agent)\b", ".*", expr).replace("$__interval", f"{step_s}s")
        if target.get("instant"):
            found = self._ask("query", {"query": expr, "time": self._now_s})["result"]
            return [(one["metric"], [_point(one["value"])]) for one in found]
        start_s, end_s = ((at // step_s) * step_s for at in (self._now_s - RANGE_S, self._now_s))
        asked = {"query": expr, "start": start_s, "end": end_s, "step": step_s}
        found = self._ask("query_range", asked)["result"]
        return [(one["metric"], [_point(value) for value in one["values"]]) for one in found]

    def _stat(self, panel: Mapping[str, Any], width: float, height: float) -> str:
        defaults, shown = panel["fieldConfig"]["defaults"], []
        painted = panel["options"]["colorMode"].replace("value", "color")
        for target in panel["targets"]:
            for _, points in self._series(panel, target):
                value = points[-1][1]
                words = next(
                    (m["options"].get(f"{value:g}") for m in defaults.get("mappings", ())), None
                )
                color = _NAMED[words["color"]] if words else _threshold(defaults, value)
                text = words["text"] if words else amount(value, defaults)
                name = (
                    f"<small>{escape(target['legendFormat'])}</small>"
                    if target.get("legendFormat")
                    else ""
                )
                shown.append(f'<div style="{painted}:{color}">{name}{text}</div>')
        size = min(40, height / 1.6, width / 4.4)
        body = "".join(shown) or _empty(panel)
        return f'<div class="stat" style="font-size:{size:.0f}px">{body}</div>'

    def _alertlist(self, _panel: Mapping[str, Any], _width: float, _height: float) -> str:
        return f'<div class="alerts">{self._alerts}</div>'

    def _bargauge(self, panel: Mapping[str, Any], _width: float, _height: float) -> str:
        defaults, rows = panel["fieldConfig"]["defaults"], []
        for target in panel["targets"]:
            for labels, points in self._series(panel, target):
                value = points[-1][1]
                color = _threshold(defaults, value)
                bar = f"width:{min(value, 1):.1%};background:{color}"
                rows.append(
                    f"<tr><td>{_legend(target, labels)}</td>"
                    f'<td class="bar"><i style="{bar}"></i></td>'
                    f'<td class="number" style="color:{color}">{amount(value, defaults)}</td></tr>'
                )
        return f'<table class="gauge">{"".join(sorted(rows))}</table>' if rows else _empty(panel)

    def _table(self, panel: Mapping[str, Any], _width: float, _height: float) -> str:
        organize = panel["transformations"][1]["options"]["renameByName"]
        units = {
            one["matcher"]["options"]: {prop["id"]: prop["value"] for prop in one["properties"]}
            for one in panel["fieldConfig"]["overrides"]
        }
        names = [organize[f"Value #{target['refId']}"] for target in panel["targets"]]
        rows: defaultdict[str, dict[str, float]] = defaultdict(dict)
        for name, target in zip(names, panel["targets"], strict=True):
            for labels, points in self._series(panel, target):
                rows[labels["agent_name"]][name] = points[-1][1]
        nothing = panel["fieldConfig"]["defaults"]["noValue"]
        by = panel["options"]["sortBy"][0]["displayName"]
        head = "".join(f"<th>{escape(name)}</th>" for name in ("agent", *names))
        body = "".join(
            f"<tr><td>{escape(agent)}</td>"
            + "".join(
                f'<td class="number">{amount(row.get(name), units[name], nothing)}</td>'
                for name in names
            )
            + "</tr>"
            for agent, row in sorted(rows.items(), key=lambda one: -one[1].get(by, 0))
        )
        return f'<table class="rows"><tr>{head}</tr>{body}</table>'

    def _timeseries(self, panel: Mapping[str, Any], width: float, height: float) -> str:
        """Stacked bars, each from its time to the next."""
        [target] = panel["targets"]
        found = sorted(self._series(panel, target), key=lambda one: -sum(v for _, v in one[1]))
        stacks: defaultdict[float, float] = defaultdict(float)
        marks, legend, left, low, spare = [], [], 56, height - 46, iter(_CLASSIC * 3)
        highest, ticks = _ticks(_highest(found))
        interval = panel["interval"]
        step_s = int(interval[:-1]) * _SECONDS[interval[-1]]
        start_s = (self._now_s - RANGE_S) // step_s * step_s
        per_s = (width - left) / (self._now_s - start_s)
        for labels, points in found:
            name = _legend(target, labels)
            color = _overridden(panel, name) or next(spare)
            legend.append(f'<span><i style="background:{color}"></i>{name}</span>')
            for at_s, value in points:
                x = left + (at_s - start_s) * per_s
                wide = min(step_s * per_s, width - x)
                y = low * (1 - (stacks[at_s] + value) / highest)
                stacks[at_s] += value
                gap = min(6, wide * 0.12)
                marks.append(
                    f'<rect x="{x + gap / 2:.1f}" y="{y:.1f}" width="{max(wide - gap, 0.5):.1f}" '
                    f'height="{low * value / highest:.1f}" fill="{color}"/>'
                )
        grid = self._grid(panel, ticks, highest, left=left, width=width, low=low, start_s=start_s)
        return (
            f'<svg width="{width:.0f}" height="{low + 24:.0f}">{grid}{"".join(marks)}</svg>'
            f'<div class="legend">{"".join(legend)}</div>'
        )

    def _grid(
        self,
        panel: Mapping[str, Any],
        ticks: Sequence[float],
        highest: float,
        *,
        left: float,
        width: float,
        low: float,
        start_s: float,
    ) -> str:
        """Lines of the scale with their numbers, and the days."""
        defaults, parts = panel["fieldConfig"]["defaults"], []
        for tick in ticks:
            y = low * (1 - tick / highest)
            parts.append(f'<line x1="{left}" x2="{width:.0f}" y1="{y:.1f}" y2="{y:.1f}"/>')
            shown = amount(tick, {**defaults, "decimals": 0})
            parts.append(
                f'<text x="{left - 8}" y="{max(y + 4, 10):.1f}" text-anchor="end">{shown}</text>'
            )
        day_s = -(-start_s // 86400) * 86400
        while day_s < self._now_s:
            x = left + (day_s - start_s) / (self._now_s - start_s) * (width - left)
            day = f"{datetime.fromtimestamp(day_s, UTC):%a %d}"
            parts.append(f'<text x="{x:.1f}" y="{low + 18:.0f}">{day}</text>')
            parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{low:.0f}" y2="{low + 5:.0f}"/>')
            day_s += 86400
        return "".join(parts)


def amount(value: float | None, field: Mapping[str, Any], nothing: str = "") -> str:
    """A value in its panel's unit, as Grafana writes it."""
    if value is None:
        return nothing
    decimals = field.get("decimals")
    match field.get("unit"):
        case "currencyUSD":
            return f"${value:,.{2 if decimals is None else decimals}f}"
        case "percentunit":
            return f"{100 * value:.{1 if decimals is None else decimals}f}%"
        case "s" if value >= _MINUTE_S:
            return f"{value / _MINUTE_S:.0f} min"
        case "s":
            return f"{value:.{1 if value >= 1 else 2}f} s"
    return f"{value:,.{decimals or 0}f}"


def _point(value: Sequence[Any]) -> tuple[float, float]:
    return float(value[0]), float(value[1])


def _threshold(field: Mapping[str, Any], value: float) -> str:
    steps = field.get("thresholds", {}).get("steps", ())
    passed = [step["color"] for step in steps if step["value"] is None or value >= step["value"]]
    return _NAMED[passed[-1] if passed else "text"]


def _overridden(panel: Mapping[str, Any], name: str) -> str | None:
    for one in panel["fieldConfig"]["overrides"]:
        if re.search(one["matcher"]["options"], name):
            return _NAMED[one["properties"][0]["value"]["fixedColor"]]
    return None


def _legend(target: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    text = re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), target["legendFormat"])
    return escape(text)


def _highest(found: Sequence[Series]) -> float:
    sums: defaultdict[float, float] = defaultdict(float)
    for _, points in found:
        for at_s, value in points:
            sums[at_s] += value
    return max(sums.values(), default=1)


def _ticks(highest: float) -> tuple[float, list[float]]:
    """The end of a scale, and three to five round numbers on it."""
    step = next(
        one * 10.0**power
        for power in range(-3, 12)
        for one in (1, 2, 5)
        if highest / (one * 10.0**power) <= _TICKS
    )
    return highest * 1.04, [number * step for number in range(int(highest / step) + 1)]


def _empty(panel: Mapping[str, Any]) -> str:
    return f'<div style="color:{_DIM}">{escape(panel["fieldConfig"]["defaults"]["noValue"])}</div>'
