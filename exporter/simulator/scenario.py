"""A hotel group to look at: two workspaces, five agents, and the token that opens them.

The same for the same seed and start. Nothing in here is anybody's real data.
"""

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Final

from exporter.simulator.content import GUESTS, content_writer
from exporter.simulator.data import Scenario, SimAgent, SimWorkspace
from exporter.simulator.generator import FLAT_DAY, GeneratedRuns, RunProfile, random_id
from exporter.simulator.runs import SECOND_NS

DEMO_TOKEN: Final = "demo-token"  # noqa: S105 - opens nothing but the simulation

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
    errors=(
        "The model provider did not answer in time",
        "The model provider answered 529: overloaded",
        f"Could not deliver the reply to {GUESTS[0].email}\nTraceback: smtp 550, line 2",
    ),
    write_content=content_writer(
        {"search_kb": 5, "get_reservation": 4, "send_message": 4, "issue_refund": 0.5}, max_calls=5
    ),
)
_RESERVATIONS: Final = replace(
    _MESSAGING,
    runs_per_hour=200,
    duration_s=(3.0, 12.0, 60.0),
    dispositions={"resolved": 60, "proactive": 25, "escalated": 5, "unresolved": 10},
    write_content=content_writer(
        {"get_reservation": 4, "check_availability": 4, "update_reservation": 2}, max_calls=7
    ),
)
_HOUSEKEEPING: Final = replace(
    _MESSAGING,
    runs_per_hour=150,
    duration_s=(2.0, 5.0, 25.0),
    dispositions={"resolved": 50, "no_op": 40, "escalated": 2},
    write_content=content_writer({"create_ticket": 3, "send_message": 1}, max_calls=4),
)
_CONCIERGE: Final = replace(
    _MESSAGING,
    runs_per_hour=180,
    write_content=content_writer({"search_kb": 4, "book_table": 3, "send_message": 3}, max_calls=6),
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
    write_content=content_writer({"write_report": 1}, max_calls=4, for_guests=False),
)
_WORKSPACES: Final = {
    "Harbor Hotels": (
        ("Guest Messaging", "Answers guests on every channel", "message", _MESSAGING),
        ("Reservations", "Changes and confirms bookings", "message", _RESERVATIONS),
        ("Housekeeping Dispatch", "Turns requests into tickets", "ticket", _HOUSEKEEPING),
    ),
    "Alpine Lodges": (
        ("Concierge", "Tables, transfers and tickets", "message", _CONCIERGE),
        ("Daily Reporting", "Internal: occupancy and revenue", "schedule", _REPORTING),
    ),
}


def hospitality(
    *,
    seed: int,
    start_ns: int,
    history_s: float = 1800.0,
    rate: float = 1.0,
    day: Sequence[float] = FLAT_DAY,
) -> Scenario:
    """A hotel group: two workspaces, five agents, a run every four seconds at rate 1.

    `start_ns` is now; there are runs from `history_s` before it, and they go on arriving after it.
    `day` says how busy each hour is.
    """
    rng = Random(seed)
    from_ns = start_ns - round(history_s * SECOND_NS)
    workspaces, agents = [], []
    for workspace_name, team in _WORKSPACES.items():
        workspace = SimWorkspace(random_id("j57", rng), workspace_name)
        workspaces.append(workspace)
        for name, description, trigger, profile in team:
            agent_id, trigger_id = random_id("ag77", rng), random_id("tr77", rng)
            profile = replace(  # noqa: PLW2901 - the same profile at this rate
                profile,
                runs_per_hour=profile.runs_per_hour * rate,
                day=day,
                trigger_ids=(trigger_id,),
            )
            agents.append(
                SimAgent(
                    id=agent_id,
                    workspace_id=workspace.id,
                    name=name,
                    description=description,
                    triggers=((trigger_id, trigger),),
                    created_ns=from_ns - 90 * 24 * 3600 * SECOND_NS,
                    runs=GeneratedRuns(
                        agent_id=agent_id, seed=seed, start_ns=from_ns, profile=profile
                    ),
                )
            )
    return Scenario(
        workspaces=workspaces,
        agents=agents,
        tokens={DEMO_TOKEN: tuple(one.id for one in workspaces)},
    )
