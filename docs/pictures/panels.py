# ruff: noqa: INP001 (part of a program, no package)
"""What the panels of a dashboard show, worked out from its own JSON and a Prometheus' answers.

dashboard.html draws it. It is no Grafana: what the Overview does not use is not there.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import cycle
from typing import Any, Final

Ask = Callable[..., Any]
Field = Mapping[str, Any]

WIDTH: Final = 1440
ROW: Final = 38
UNTIL_ROW: Final = 35  # the rows Now, Money and Outcome
RANGE_S: Final = 7 * 86400
_COLUMN: Final = WIDTH // 24
_SCALE: Final = 56  # pixels for the numbers of a scale
_STEPS: Final = {"1d": 86400, "1h": 3600}
_NAMED: Final = {"green": "#73bf69", "orange": "#ff9830", "red": "#f2495c", "text": "#dcdce4"}
_CLASSIC: Final = ("#5794f2", "#37b5a6", "#b58be0", "#f0c43c", "#e88b57", "#7d8797", "#a5c8ff")
_MINUTE_S: Final = 60
_LINES: Final = 4.5


class Panels:
    """The panels of one dashboard; `ask` is the API of Prometheus, `now_s` its present."""

    def __init__(self, board: Mapping[str, Any], *, ask: Ask, now_s: float) -> None:
        self._board = board
        self._ask = ask
        self._now_s = now_s

    def upper(self) -> Iterator[dict[str, Any]]:
        """Each of the upper panels: its place, and what it shows."""
        for panel in self._board["panels"]:
            x, y, columns, rows = (panel["gridPos"][name] for name in "xywh")
            if y < UNTIL_ROW:
                shown: Callable[..., dict[str, Any]]
                shown = getattr(self, f"_{panel['type']}", lambda *_: {})
                width, height = columns * _COLUMN - 8, rows * ROW - 8
                yield {
                    "type": panel["type"],
                    "title": panel["title"],
                    "place": f"left:{x * _COLUMN + 4}px;top:{y * ROW + 4}px;"
                    f"width:{width}px;height:{height}px",
                    **shown(panel, width - 24, height - 48),
                }

    def _now(self, panel: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, str], float]]:
        """The legend, the labels and the value of all that a panel's queries give at present."""
        for target in panel["targets"]:
            found = self._ask("query", query=self._filled(target["expr"]), time=self._now_s)[
                "result"
            ]
            for one in found:
                name = target.get("legendFormat") or target["refId"]
                yield _legend(name, one["metric"]), one["metric"], float(one["value"][1])

    def _filled(self, expr: str, *, interval: str = "") -> str:
        """The query as Grafana sends it with everything chosen."""
        expr = re.sub(r"\$(job|workspace|agent)\b", ".*", expr)
        for name, value in {
            "${__to:date:seconds}": f"{self._now_s:.0f}",
            "$__range": f"{RANGE_S}s",
            "$__interval": interval,
        }.items():
            expr = expr.replace(name, value)
        return expr

    def _stat(self, panel: Mapping[str, Any], width: float, height: float) -> dict[str, Any]:
        field = panel["fieldConfig"]["defaults"]
        words = {k: v for one in field.get("mappings", ()) for k, v in one["options"].items()}
        [(_, _, value)] = self._now(panel)
        word = words.get(f"{value:g}")
        text = word["text"] if word else amount(value, field)
        return {
            "text": text,
            "color": _NAMED[word["color"]] if word else _threshold(field, value),
            "painted": panel["options"]["colorMode"] == "background",
            "size": min(40, height / 1.6, width / 0.75 / max(len(text), 5)),
        }

    def _bargauge(self, panel: Mapping[str, Any], *_: float) -> dict[str, Any]:
        field = panel["fieldConfig"]["defaults"]
        bars = [
            (name, min(value, 1), _threshold(field, value), amount(value, field))
            for name, _, value in self._now(panel)
        ]
        return {"bars": sorted(bars)}

    def _table(self, panel: Mapping[str, Any], *_: float) -> dict[str, Any]:
        titles = panel["transformations"][1]["options"]["renameByName"]
        fields = {
            one["matcher"]["options"]: {prop["id"]: prop["value"] for prop in one["properties"]}
            for one in panel["fieldConfig"]["overrides"]
        }
        names = [titles[f"Value #{target['refId']}"] for target in panel["targets"]]
        agents: defaultdict[str, dict[str, float]] = defaultdict(dict)
        for ref, labels, value in self._now(panel):
            agents[labels["agent_name"]][titles[f"Value #{ref}"]] = value
        by = panel["options"]["sortBy"][0]["displayName"]
        nothing = panel["fieldConfig"]["defaults"]["noValue"]
        return {
            "names": names,
            "rows": [
                (agent, [amount(row.get(name), fields[name], nothing) for name in names])
                for agent, row in sorted(agents.items(), key=lambda one: -one[1].get(by, 0))
            ],
        }

    def _timeseries(self, panel: Mapping[str, Any], width: float, height: float) -> dict[str, Any]:
        """Stacked bars, each from its time to the next."""
        [target] = panel["targets"]
        step_s = _STEPS[panel["interval"]]
        start_s, end_s = ((at // step_s) * step_s for at in (self._now_s - RANGE_S, self._now_s))
        expr = self._filled(target["expr"], interval=panel["interval"])
        found = self._ask("query_range", query=expr, start=start_s, end=end_s, step=step_s)
        low, per_s = height - 46, (width - _SCALE) / (self._now_s - start_s)
        sums: defaultdict[float, float] = defaultdict(float)
        series = []
        for one in found["result"]:
            points = [(at_s, float(value)) for at_s, value in one["values"]]
            for at_s, value in points:
                sums[at_s] += value
            series.append((_legend(target["legendFormat"], one["metric"]), points))
        highest, ticks = _scale(max(sums.values()))
        spare, legend, bars = cycle(_CLASSIC), [], []
        stacks: defaultdict[float, float] = defaultdict(float)
        for name, points in sorted(series, key=lambda one: -sum(value for _, value in one[1])):
            color = _overridden(panel, name) or next(spare)
            legend.append((name, color))
            for at_s, value in points:
                stacks[at_s] += value
                wide = min(step_s, self._now_s - at_s) * per_s
                x, y = _SCALE + (at_s - start_s) * per_s, low * (1 - stacks[at_s] / highest)
                bars.append((x, y, wide - min(6, wide * 0.12), low * value / highest, color))
        field = {**panel["fieldConfig"]["defaults"], "decimals": 0}
        return {
            "width": width,
            "low": low,
            "bars": bars,
            "legend": legend,
            "lines": [(low * (1 - tick / highest), amount(tick, field)) for tick in ticks],
            "days": [
                (
                    _SCALE + (day_s - start_s) * per_s,
                    min(86400, self._now_s - day_s) * per_s,
                    f"{datetime.fromtimestamp(day_s, UTC):%a %d}",
                )
                for day_s in range(-int(-start_s // 86400) * 86400, int(self._now_s), 86400)
            ],
        }


def amount(value: float | None, field: Field, nothing: str = "") -> str:
    """A value in its panel's unit, as Grafana writes it."""
    decimals = field.get("decimals")
    match field.get("unit"):
        case _ if value is None:
            return nothing
        case "currencyUSD":
            return f"${value:,.{2 if decimals is None else decimals}f}"
        case "percentunit":
            return f"{100 * value:.{1 if decimals is None else decimals}f}%"
        case "s" if value >= _MINUTE_S:
            return f"{value / _MINUTE_S:.0f} min"
        case "s":
            return f"{value:.1f} s"
    return f"{value:,.{decimals or 0}f}"


def _legend(template: str, labels: Mapping[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), template)


def _threshold(field: Field, value: float) -> str:
    steps = field["thresholds"]["steps"]
    passed = [step["color"] for step in steps if step["value"] is None or value >= step["value"]]
    return _NAMED[passed[-1]]


def _overridden(panel: Mapping[str, Any], name: str) -> str | None:
    for one in panel["fieldConfig"]["overrides"]:
        if re.search(one["matcher"]["options"], name):
            return _NAMED[one["properties"][0]["value"]["fixedColor"]]
    return None


def _scale(highest: float) -> tuple[float, Sequence[float]]:
    """The end of a scale, and a few round numbers on it."""
    rounds = (one * 10.0**power for power in range(-3, 12) for one in (1, 2, 5))
    step = next(one for one in rounds if highest / one <= _LINES)
    return highest * 1.04, [number * step for number in range(int(highest / step) + 1)]
