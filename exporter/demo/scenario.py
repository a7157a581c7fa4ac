"""Two scenarios: a hotel group to look at, and a busy week to simulate.

Both are the same for the same seed and start. Nothing in here is anybody's real data.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from random import Random
from typing import Any, Final

from exporter.demo.directory import Scenario, SimAgent, SimTrigger, SimWorkspace
from exporter.demo.generator import (
    HOTEL_DAY,
    ContentWriter,
    Disorder,
    GeneratedRuns,
    RunProfile,
)
from exporter.demo.guests import GUESTS, reason_for, reflection_on, reply_to
from exporter.demo.ids import random_id
from exporter.demo.runs import SECOND_NS, RunContent, SimRun
from exporter.demo.tools import item_of, odd_item, plan_calls

DEMO_TOKEN: Final = "demo-token"  # noqa: S105 - opens nothing but the simulation
_TOOL_FAILURES: Final = 0.04
_IDLE_RUNS: Final = 0.07  # runs without any tool call
_NULL_ITEMS: Final = 0.08
_ODD_ITEMS: Final = 0.02
_UNNAMED: Final = "unknown"  # the tool of an item that names none
_NULL_TRACES: Final = 0.5  # of those without a call

_json: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

_ERRORS: Final = (
    "The model provider did not answer in time",
    "The model provider answered 529: overloaded",
    "Tool send_message failed: the channel rejected the message",
    f"Could not deliver the reply to {GUESTS[0].email}\nTraceback: smtp 550, line 2",
)


def _writer(tools: Mapping[str, float], *, most: int, for_guests: bool = True) -> ContentWriter:
    """Writes a run's content with up to `most` calls of these tools, by weight."""
    names, marks = tuple(tools), tuple(accumulate(tools.values()))

    def write(run: SimRun, rng: Random) -> RunContent:
        guest = rng.choice(GUESTS)
        count = 0 if rng.random() < _IDLE_RUNS else 1 + int(rng.random() * most)
        chosen = rng.choices(names, cum_weights=marks, k=count)
        if run.disposition in ("escalated", "escalation_and_answer"):
            chosen[-1:] = ["escalate_to_human"]
        calls = plan_calls(run, chosen, failed_ratio=_TOOL_FAILURES, rng=rng)
        items: list[Any] = [item_of(call, guest, rng) for call in calls]
        tools = [(call.name, call.failed) for call in calls]
        if items and rng.random() < _NULL_ITEMS:
            items.insert(rng.randint(0, len(items)), None)
        if rng.random() < _ODD_ITEMS:
            items.append(odd_item(guest, rng))
            tools.append((_UNNAMED, False))
        answered = for_guests and run.status != "failed"
        return RunContent(
            session_id=f"sess_{rng.randrange(1 << 24):06x}",
            disposition_reason=reason_for(run.disposition, rng),
            trigger_event_id=f"te77{rng.getrandbits(112):028x}" if run.trigger_id else None,
            response=reply_to(guest, run.disposition, rng) if answered else None,
            reflection=reflection_on(guest, rng) if for_guests else None,
            tool_trace=(None if not items and rng.random() < _NULL_TRACES else _json(items)),
            tools=tuple(tools),
        )

    return write


_MESSAGING: Final = RunProfile(
    runs_per_hour=300,
    dispositions={
        "resolved": 70,
        "escalated": 8,
        "escalation_and_answer": 5,
        "unresolved": 6,
        "no_op": 8,
        None: 3,
    },
    errors=_ERRORS,
    write_content=_writer(
        {
            "search_kb": 5,
            "get_reservation": 4,
            "send_message": 4,
            "create_ticket": 1,
            "issue_refund": 0.5,
        },
        most=5,
    ),
)
_RESERVATIONS: Final = replace(
    _MESSAGING,
    runs_per_hour=200,
    duration_s=(3.0, 12.0, 60.0),
    dispositions={"resolved": 60, "proactive": 25, "escalated": 5, "unresolved": 10},
    write_content=_writer(
        {"get_reservation": 4, "check_availability": 4, "update_reservation": 2, "send_message": 2},
        most=7,
    ),
)
_HOUSEKEEPING: Final = replace(
    _MESSAGING,
    runs_per_hour=150,
    duration_s=(2.0, 5.0, 25.0),
    dispositions={"resolved": 50, "no_op": 40, "escalated": 2},
    write_content=_writer({"create_ticket": 3, "assign_ticket": 3, "send_message": 1}, most=4),
)
_CONCIERGE: Final = replace(
    _MESSAGING,
    runs_per_hour=180,
    write_content=_writer({"search_kb": 4, "book_table": 3, "send_message": 3}, most=6),
)
# Internal agents are billed in credits: their cost is null, and no guest is near.
_REPORTING: Final = replace(
    _MESSAGING,
    runs_per_hour=70,
    duration_s=(8.0, 20.0, 60.0),
    dispositions={"no_op": 30, None: 70},
    input_price=None,
    output_price=None,
    input_tokens=(4_000, 60_000),
    has_contact=False,
    write_content=_writer({"query_occupancy": 3, "write_report": 2}, most=4, for_guests=False),
)

_HARBOR: Final = (
    ("Guest Messaging", "Answers guests on every channel", "message", _MESSAGING),
    ("Reservations", "Changes and confirms bookings", "message", _RESERVATIONS),
    ("Housekeeping Dispatch", "Turns requests into tickets", "ticket", _HOUSEKEEPING),
)
_ALPINE: Final = (
    ("Concierge", "Tables, transfers and tickets", "message", _CONCIERGE),
    ("Daily Reporting", "Internal: occupancy and revenue", "schedule", _REPORTING),
)


def hospitality(
    *, seed: int, start_ns: int, history_s: float = 1800.0, rate: float = 1.0
) -> Scenario:
    """A hotel group: two workspaces, five agents, a run every four seconds at rate 1.

    `start_ns` is now; there are runs from `history_s` before it, and they go on arriving after it.
    """
    rng = Random(seed)
    from_ns = start_ns - round(history_s * SECOND_NS)
    workspaces = [
        SimWorkspace(random_id("j57", rng), name) for name in ("Harbor Hotels", "Alpine Lodges")
    ]
    agents = [
        _agent(workspace, rng, seed=seed, from_ns=from_ns, rate=rate, described=described)
        for workspace, team in zip(workspaces, (_HARBOR, _ALPINE), strict=True)
        for described in team
    ]
    return _scenario(workspaces, agents)


def busy_week(
    *,
    seed: int,
    start_ns: int,
    runs_a_week: int = 200_000,
    agents: int = 20,
    workspaces: int = 4,
    disorder: Disorder | None = None,
) -> Scenario:
    """Many agents with days and nights; all that can go wrong with data does, in small doses."""
    rng = Random(seed)
    houses = [SimWorkspace(random_id("j57", rng), f"House {at + 1}") for at in range(workspaces)]
    profiles = (_MESSAGING, _RESERVATIONS, _HOUSEKEEPING, _CONCIERGE, _REPORTING)
    disorder = disorder or Disorder(
        long_ratio=0.003,
        stuck_ratio=0.0005,
        late_ratio=0.01,
        deleted_ratio=0.002,
    )
    # Agents are as unequal as in life: the first has some hundred times the runs of the last.
    shares = [1 / (1 + at) ** 1.5 for at in range(agents)]
    mean_day = sum(HOTEL_DAY) / 24
    team = []
    for at, share in enumerate(shares):
        per_hour = runs_a_week * share / sum(shares) / (7 * 24) / mean_day
        profile = replace(
            profiles[at % len(profiles)],
            runs_per_hour=per_hour,
            day=HOTEL_DAY,
            disorder=disorder,
            created_step_ms=1 if at % 4 else 1000,
        )
        described = (f"Agent {at + 1}", "One of many", "message", profile)
        house = houses[at % workspaces]
        team.append(_agent(house, rng, seed=seed, from_ns=start_ns, rate=1.0, described=described))
    return _scenario(houses, team)


def _agent(
    workspace: SimWorkspace,
    rng: Random,
    *,
    seed: int,
    from_ns: int,
    rate: float,
    described: tuple[str, str, str, RunProfile],
) -> SimAgent:
    name, description, trigger_type, profile = described
    agent_id = random_id("ag77", rng)
    triggers = (
        SimTrigger(random_id("tr77", rng), f"On {trigger_type}", trigger_type),
        SimTrigger(random_id("tr77", rng), "By hand", "manual", enabled=False),
    )
    profile = replace(
        profile, runs_per_hour=profile.runs_per_hour * rate, trigger_ids=(triggers[0].id,)
    )
    return SimAgent(
        id=agent_id,
        workspace_id=workspace.id,
        name=name,
        description=description,
        version=rng.randrange(1, 30),
        operation_mode=rng.choice(("autopilot", "copilot")),
        skill_ids=(random_id("sk77", rng),),
        triggers=triggers,
        created_ns=from_ns - 90 * 24 * 3600 * SECOND_NS,
        runs=GeneratedRuns(agent_id=agent_id, seed=seed, start_ns=from_ns, profile=profile),
    )


def _scenario(workspaces: Sequence[SimWorkspace], agents: Sequence[SimAgent]) -> Scenario:
    tokens = {DEMO_TOKEN: tuple(one.id for one in workspaces)}
    return Scenario(workspaces=workspaces, agents=agents, tokens=tokens)
