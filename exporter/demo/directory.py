"""Workspaces and agents of the simulated Conduit, and the scenario that holds them together."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from exporter.demo.answers import Field, json_text, json_time
from exporter.demo.runs import RunSource


@dataclass(frozen=True, slots=True)
class SimWorkspace:
    """A workspace as `GET /v1/workspaces` shows it."""

    id: str
    name: str

    def fields(self) -> list[Field]:
        return [("id", json_text(self.id)), ("name", json_text(self.name))]


@dataclass(frozen=True, slots=True)
class SimTrigger:
    """What starts an agent's runs."""

    id: str
    name: str
    type: str
    enabled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SimAgent:
    """An agent, and where its runs come from; without `runs` it has those placed by hand."""

    id: str
    workspace_id: str
    name: str
    description: str | None = None
    version: int = 1
    enabled: bool = True
    operation_mode: str = "autopilot"
    skill_ids: tuple[str, ...] = ()
    triggers: tuple[SimTrigger, ...] = ()
    created_ns: int = 0
    runs: RunSource | None = None

    def fields(self) -> list[Field]:
        triggers = [
            {"id": one.id, "name": one.name, "type": one.type, "enabled": one.enabled}
            for one in self.triggers
        ]
        return [
            ("id", json_text(self.id)),
            ("workspace_id", json_text(self.workspace_id)),
            ("name", json_text(self.name)),
            ("description", json_text(self.description)),
            ("version", str(self.version)),
            ("enabled", json.dumps(self.enabled)),
            ("operation_mode", json_text(self.operation_mode)),
            ("skill_ids", json.dumps(self.skill_ids)),
            ("triggers", json.dumps(triggers, ensure_ascii=False)),
            ("created_at", json_time(self.created_ns)),
            ("updated_at", json_time(self.created_ns)),
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Who there is, and which token sees which workspaces.

    Generated runs advance with the simulation that reads them, so a scenario serves one only.
    """

    workspaces: Sequence[SimWorkspace]
    agents: Sequence[SimAgent]
    tokens: Mapping[str, tuple[str, ...]]
