"""For the tests of the simulated Conduit: a small world, a way to ask it, the documented schema.

The schema is the published one of get-run, so what it says is not our reading of it.
"""

import json
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from exporter.simulator.conduit import SimResponse
from exporter.simulator.data import Scenario, SimAgent, SimWorkspace
from exporter.simulator.runs import SECOND_NS, SimRun
from tests.fakes import START_NS, FakeClock
from tests.simulation.conduit import ScriptedConduit

WS1, WS2 = "j57harbor", "j57alpine"
AG1, AG2, AG3 = "ag77one", "ag77two", "ag77three"
BOTH, ONE = "token-of-both", "token-of-one"

_LIST_FIELDS = 16  # of the documented order, the ones up to completed_at


def sim_run(run_id: str = "ar77a", **over: Any) -> SimRun:
    """A run of AG1, four seconds long, resolved, that has just ended."""
    run = SimRun(
        id=run_id,
        agent_id=AG1,
        created_ns=START_NS - 4 * SECOND_NS,
        completed_ns=START_NS,
        duration_ns=4 * SECOND_NS,
        input_tokens=100,
        output_tokens=10,
        cost="0.01",
        trace_id="0f9c2b1d8a7e4f36",
    )
    return run._replace(**over)


def small_scenario(_start_ns: int) -> Scenario:
    """Two agents in the first workspace, one in the second; all runs are placed by hand."""
    return Scenario(
        workspaces=[SimWorkspace(WS1, "Harbor Hotels"), SimWorkspace(WS2, "Alpine Lodges")],
        agents=[
            SimAgent(id=AG1, workspace_id=WS1, name="Messaging"),
            SimAgent(id=AG2, workspace_id=WS1, name="Reservations"),
            SimAgent(id=AG3, workspace_id=WS2, name="Concierge"),
        ],
        tokens={BOTH: (WS1, WS2), ONE: (WS1,)},
    )


def small_conduit(clock: FakeClock, **over: Any) -> ScriptedConduit:
    """A Conduit of the small scenario."""
    return ScriptedConduit(now_ns=clock.now_ns, scenario=small_scenario(START_NS), **over)


def ask(conduit: ScriptedConduit, path: str, query: str = "", *, token: str = BOTH) -> SimResponse:
    """GET a path below /v1."""
    return conduit.handle("GET", f"/v1{path}", query, {"authorization": f"Bearer {token}"})


def parsed(response: SimResponse) -> Any:
    """The body as JSON, decimals exact."""
    return json.loads(response.body, parse_float=Decimal)


def runs_path(agent_id: str = AG1) -> str:
    return f"/agents/{agent_id}/runs"


@cache
def documented() -> Any:
    """The published OpenAPI document of get-run."""
    text = (Path(__file__).parent / "fixtures" / "get-run.openapi.yaml").read_text("utf-8")
    return yaml.safe_load(text)


def documented_answer(status: int) -> Any:
    """The schema of get-run's answer with this status, its example included."""
    operation = documented()["paths"]["/v1/agents/{id}/runs/{run_id}"]["get"]
    return operation["responses"][str(status)]["content"]["application/json"]["schema"]


def documented_row() -> Any:
    """The schema of a run in a list: get-run's, without the fields that only get-run has."""
    whole = documented_answer(200)["properties"]["data"]
    names = whole["required"][:_LIST_FIELDS]
    properties = {name: whole["properties"][name] for name in names}
    return {"type": "object", "properties": properties, "required": names}


def violations(schema: Any, value: Any, where: str = "$") -> list[str]:
    """Where a value breaks the schema; a field that the schema does not know breaks it as well."""
    if value is None:
        allowed = schema.get("nullable", False) or not schema
        return [] if allowed else [f"{where} is null"]
    kind = schema.get("type")
    if kind is not None and not isinstance(value, _KINDS[kind]):
        return [f"{where} is no {kind}"]
    if isinstance(value, bool) and kind == "number":
        return [f"{where} is no number"]
    found = []
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{where} is {value!r}")
    if kind == "object":
        properties = schema["properties"]
        found += [f"{where}.{name} is missing" for name in schema["required"] if name not in value]
        found += [f"{where}.{name} is unknown" for name in value if name not in properties]
        for name, inner in properties.items():
            if name in value:
                found += violations(inner, value[name], f"{where}.{name}")
    if kind == "array":
        for at, item in enumerate(value):
            found += violations(schema["items"], item, f"{where}[{at}]")
    return found


_KINDS: dict[str, Any] = {
    "string": str,
    "number": (int, Decimal),
    "object": dict,
    "array": list,
}
