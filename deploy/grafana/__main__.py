# ruff: noqa: INP001 (a program, no package)
"""Writes the three dashboards with Grafana's foundation SDK.

    python deploy/grafana

Change a panel beside this file, run it, commit the JSON. It talks to no Grafana.
"""

import json
from pathlib import Path

from agent_board import agent
from exporter_board import exporter
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from overview_board import overview

FOLDER = Path(__file__).parent


def files() -> dict[str, str]:
    """The text of each file by its name."""
    made = {}
    for board in (overview(), agent(), exporter()):
        # Through text: the SDK's objects become plain JSON.
        document = json.loads(json.dumps(board.build(), cls=JSONEncoder))
        for number_, panel in enumerate(document["panels"], start=1):
            panel["id"] = number_
        name = document["uid"].removeprefix("conduit-")
        text_ = json.dumps({"id": None} | document, indent=1, ensure_ascii=False)
        made[f"{name}.json"] = text_ + "\n"
    return made


if __name__ == "__main__":
    for file, content in files().items():
        (FOLDER / file).write_text(content, encoding="utf-8")
