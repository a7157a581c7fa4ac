"""Every attribute that a span may carry, once: the allowlist that conversion filters by.

It fails closed: a name that does not stand here never leaves, and a name marked as content leaves
only where the operator asked for content. docs/SPANS.md shows the same table.
"""

from dataclasses import dataclass
from typing import Final, Literal

Where = Literal["run", "tool", "both"]
Kind = Literal["string", "int", "double", "boolean"]


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute: which spans carry it, when, and what it looks like."""

    name: str
    span: Where
    kind: Kind
    when: str
    example: str
    content: bool = False


ATTRIBUTES: Final = (
    Attribute("gen_ai.operation.name", "both", "string", "always", "invoke_agent"),
    Attribute("gen_ai.provider.name", "run", "string", "always", "conduit"),
    Attribute("gen_ai.agent.id", "run", "string", "always", "ag77c0dy0mgdpzmqz6tesry8w184002s"),
    Attribute("gen_ai.agent.name", "both", "string", "the agent's name is known", "Front desk"),
    Attribute(
        "gen_ai.conversation.id",
        "both",
        "string",
        "`conversation_id` is not null",
        "cv77c0dy0mgdpzmqz6tesry8w184002s",
    ),
    Attribute("gen_ai.usage.input_tokens", "run", "int", "`token_usage` is not null", "1820"),
    Attribute("gen_ai.usage.output_tokens", "run", "int", "`token_usage` is not null", "342"),
    Attribute("gen_ai.tool.name", "tool", "string", "always; `unknown` without", "get_reservation"),
    Attribute("gen_ai.tool.call.id", "tool", "string", "the item has a call id", "call_8f2k"),
    Attribute("server.address", "run", "string", "always", "api.conduit.ai"),
    Attribute("server.port", "run", "int", "the base URL has a port", "8443"),
    Attribute("session.id", "run", "string", "`session_id` is not null", "sess_4b21e9"),
    Attribute("error.type", "both", "string", "the run or the tool failed", "_OTHER"),
    Attribute("conduit.workspace.id", "run", "string", "always", "j57demo8f8x7c9v0n2q4r6t8y1u3i5o"),
    Attribute("conduit.run.id", "run", "string", "always", "ar77c0dy0mgdpzmqz6tesry8w184002s"),
    Attribute("conduit.run.backend_id", "run", "string", "`run_id` is not empty", "run_9f3a1c7e"),
    Attribute("conduit.run.status", "run", "string", "always", "completed"),
    Attribute("conduit.run.disposition", "run", "string", "`disposition` is not null", "resolved"),
    Attribute(
        "conduit.run.disposition_reason",
        "run",
        "string",
        "`disposition_reason` is a short tag, not prose",
        "answered_from_knowledge",
    ),
    Attribute("conduit.run.cost_usd", "run", "double", "`total_cost` is not null", "0.0121"),
    Attribute("conduit.run.duration_ms", "run", "double", "`duration_ms` is not null", "4213.0"),
    Attribute("conduit.run.tool_calls", "run", "int", "the run's detail was read", "1"),
    Attribute(
        "conduit.trigger.id",
        "run",
        "string",
        "`trigger_id` is not null",
        "tr77c0dy0mgdpzmqz6tesry8w184002s",
    ),
    Attribute(
        "conduit.trigger.event_id",
        "run",
        "string",
        "`trigger_event_id` is not null",
        "te77c0dy0mgdpzmqz6tesry8w184002s",
    ),
    Attribute("conduit.trace.id", "run", "string", "`trace_id` is not empty", "0f9c2b1d8a7e4f36"),
    Attribute("conduit.trace.detail", "run", "string", "only the list was read", "summary"),
    Attribute("conduit.timing", "run", "string", "always", "measured"),
    Attribute("conduit.time_adjusted", "run", "boolean", "a time had to be bent", "true"),
    Attribute("conduit.tool.index", "tool", "int", "always", "0"),
    Attribute("conduit.tool.timing", "tool", "string", "always", "synthetic"),
    Attribute("conduit.tool.time_clamped", "tool", "boolean", "it ended before it began", "true"),
    Attribute(
        "gen_ai.output.messages",
        "run",
        "string",
        "`response` is not empty",
        '[{"role":"assistant","parts":[{"type":"text","content":"You\'re all set"}],'
        '"finish_reason":"stop"}]',
        content=True,
    ),
    Attribute(
        "gen_ai.tool.call.arguments",
        "tool",
        "string",
        "the item has an input",
        '{"reservation_id":"res_123"}',
        content=True,
    ),
    Attribute(
        "gen_ai.tool.call.result",
        "tool",
        "string",
        "the item has an output and did not fail",
        '{"status":"confirmed"}',
        content=True,
    ),
    Attribute(
        "conduit.tool.item",
        "tool",
        "string",
        "the item is not understood: no name or neither input nor output",
        '"Looked up the booking"',
        content=True,
    ),
    Attribute(
        "conduit.contact.id",
        "run",
        "string",
        "`contact_id` is not null",
        "co77c0dy0mgdpzmqz6tesry8w184002s",
        content=True,
    ),
    Attribute(
        "conduit.reflection",
        "run",
        "string",
        "`reflection` is not empty",
        "Contact asked to confirm their booking.",
        content=True,
    ),
    Attribute(
        "conduit.error.message",
        "both",
        "string",
        "the run or the tool failed and says why",
        "The booking system did not answer",
        content=True,
    ),
)

CONTENT_FREE: Final = frozenset(one.name for one in ATTRIBUTES if not one.content)
ALL: Final = frozenset(one.name for one in ATTRIBUTES)
