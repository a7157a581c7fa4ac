"""Runs as no hotel has them, but as the API could show them: every rule of the conversion once."""

import json
from typing import Any, Final

from exporter.simulator.runs import SECOND_NS, RunContent, SimRun
from tests.real.conduit import example_row
from tests.simulation.conduit import ScriptedConduit

_TOOLS: Final[tuple[Any, ...]] = (
    {"name": "get_reservation", "input": {"id": "res_1"}, "output": {"price": 12.50}},
    None,
    {
        "name": "search_kb",
        "started_at": "2026-04-03T03:14:16.000000001Z",
        "ended_at": "2026-04-03T03:14:17.5Z",
        "output": ["Frühstück 🥐", "☎ +1 212 555 0100", "card 4111 1111 1111 1111"],
    },
    {"name": "issue_refund", "error": {"message": "declined"}, "status": "failed"},
    {"name": "send_message", "output": {"status": 503}, "success": False},
    {"tool_name": "get_rates", "arguments": "x" * 5000, "result": "é" * 4000},
    "Looked up the booking",
    42,
    [],
    {},
    {"name": ""},
)
_COSTS: Final = ("0.1", "0.2", "1e-9", "0", "0.30000000000000004", "12345.678901234567", None)
_TRACE_IDS: Final = (
    None,
    "",
    "0" * 16,
    "AB12CD34EF56AB78",
    "0AF7651916CD43DD8448EB211C80319C",
    "7d444840-9dc0-11d1-b245-5ffdce74fad2",
    "no id at all <script>",
    "00000000000000000000000000000abc",  # twice: two runs in one trace
    "00000000000000000000000000000abc",
)


def example_run() -> tuple[SimRun, RunContent]:
    """The documented example, to be placed."""
    row = example_row()
    run = _run(row["id"])._replace(
        backend_run_id=row["run_id"],
        cost=str(row["total_cost"]),
        trace_id=row["trace_id"],
        contact_id=row["contact_id"],
        conversation_id=row["conversation_id"],
        trigger_id=row["trigger_id"],
    )
    content = RunContent(
        session_id=row["session_id"],
        disposition_reason=row["disposition_reason"],
        trigger_event_id=row["trigger_event_id"],
        response=row["response"],
        reflection=row["reflection"],
        tool_trace=json.dumps(row["tool_trace"]),
        tools=(("get_reservation", False),),
    )
    return run, content


def place_odd_runs(conduit: ScriptedConduit) -> None:
    """Add the documented example and the odd runs to the example's agent."""
    conduit.data.add_run(*example_run())
    for number, cost in enumerate(_COSTS):
        conduit.data.add_run(_run(f"ar77cost{number}")._replace(cost=cost))
    for number, trace_id in enumerate(_TRACE_IDS):
        conduit.data.add_run(_run(f"ar77trace{number}")._replace(trace_id=trace_id))
    conduit.data.add_run(
        _run("ar77failed")._replace(
            status="failed",
            disposition=None,
            error="  mail ann@example.com or call +1 212 555 0100\nTraceback: line 2",
        ),
        RunContent(disposition_reason="a sentence, with the name of a guest"),
    )
    conduit.data.add_run(
        _run("ar77tools"),
        RunContent(
            response="Dear Ann, write to ann@example.com " + "und so weiter ü " * 400,
            reflection="She\u0000 asked",
            tool_trace=json.dumps(_TOOLS, ensure_ascii=False),
            tools=(
                *(("get_reservation", False), ("search_kb", False), ("issue_refund", True)),
                *(("send_message", True), ("get_rates", False)),
                *(("unknown", False),) * 5,
            ),
        ),
    )
    changed = {
        "ar77untimed": {"completed_at": "null", "duration_ms": "null"},
        "ar77length": {"completed_at": "null"},
        "ar77backwards": {"completed_at": '"2026-04-03T03:14:14Z"'},
        "ar77zoned": {"created_at": '"2026-04-03T05:14:15.123456789+02:00"'},
    }
    conduit.data.add_run(
        _run("ar77bare")._replace(
            backend_run_id="", disposition=None, input_tokens=None, output_tokens=None, cost=None
        )
    )
    for run_id, edit in changed.items():
        conduit.data.add_run(_run(run_id))
        conduit.data.edit_run(run_id, edit)


def _run(run_id: str) -> SimRun:
    """A run like the documented example, from 2026-04-03T03:14:15Z on."""
    created_ns = 1_775_186_055 * SECOND_NS
    return SimRun(
        id=run_id,
        agent_id=example_row()["agent_id"],
        created_ns=created_ns,
        completed_ns=created_ns + 4_213 * SECOND_NS // 1000,
        duration_ns=4_213 * SECOND_NS // 1000,
        input_tokens=1820,
        output_tokens=342,
        cost="0.0121",
    )
