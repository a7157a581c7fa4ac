"""The shapes that tool calls have in the usual agent frameworks, as data; it reads nothing.

The documented item comes first; another framework is another word in these tables, never a branch
in `tools`.
"""

from typing import Final

from exporter.times import SECOND_NS

# Where the usual shapes keep what: the documented item's key first, then OpenAI, Anthropic,
# Gemini, AI SDK, LangChain, MCP and others. Capitals, `_` and `-` do not matter: toolCallId is
# tool_call_id.
# Of several keys of a line in one item the first listed counts.
SHAPES: Final[dict[str, tuple[str, ...]]] = {
    "name": ("name", "tool_name", "function_name"),
    "called": ("tool", "function", "action"),  # a name, unless it is prose
    "input": (
        *("input", "arguments", "args", "tool_input", "action_input", "parameters", "params"),
    ),
    "output": (
        *("output", "tool_output", "result", "response", "observation", "tool_result", "content"),
    ),
    "call_id": ("tool_call_id", "call_id", "tool_use_id"),
    "id": ("id",),
    "type": ("type",),
    "role": ("role",),
    "method": ("method",),
    # How an item says that it failed.
    "error": ("error", "error_message", "error_text", "exception"),
    "error_code": ("error_type", "error_code"),
    "http_status": ("status_code", "http_status"),
    "status": ("status", "state", "outcome"),
    "succeeded": ("success", "succeeded", "ok"),
    "failed": (
        *("is_error", "has_error", "failed", "errored", "timed_out"),
        *("cancelled", "canceled", "denied", "rejected", "aborted"),
    ),
    # When it took place.
    "start": ("started_at", "start_time", "started", "start", "start_ts"),
    "end": (
        *("ended_at", "end_time", "ended", "end", "end_ts"),
        *("finished_at", "finish_time", "finished", "completed_at"),
    ),
    "duration_ns": ("duration_ns",),
    "duration_us": ("duration_us",),
    "duration_ms": ("duration_ms", "latency_ms", "elapsed_ms"),
    "duration_s": ("duration_s", "duration_seconds", "elapsed_s", "elapsed_seconds", "latency_s"),
    # An object that holds the call's own keys.
    "call": (
        *("function", "function_call", "tool_call", "tool_use", "tool_invocation"),
        *("tool", "action"),
    ),
    "answer": ("function_response", "tool_result"),
    "request": ("params",),
    "message": ("data", "kwargs", "message", "content"),
    # A list of calls, and a list that may hold calls among other parts.
    "calls": ("tool_calls", "function_calls"),
    "answers": ("tool_results",),
    "parts": ("parts", "content", "messages", "choices", "candidates"),
}
# Values of `type` and `role` that tell a call, its result, and what is neither.
CALL_TYPES: Final = (
    *("tool_use", "server_tool_use", "mcp_tool_use", "tool_call", "function_call", "mcp_call"),
    *("tool_invocation", "dynamic_tool", "function"),
)
RESULT_TYPES: Final = (
    *("tool", "tool_result", "tool_error", "function_call_output", "mcp_tool_result", "function"),
)
OTHER_TYPES: Final = (
    *("user", "human", "assistant", "ai", "model", "system", "developer", "message"),
    *("text", "reasoning", "thinking", "redacted_thinking", "step_start"),
)
# The AI SDK keeps a tool's name in the type of its part.
NAME_PREFIX_OF_TYPE: Final = "tool-"
# With these prefixes model providers mark a call; a plain `id` may be anybody's.
CALL_ID_PREFIXES: Final = ("call_", "toolu_", "fc_", "mcp_")

DURATION_UNITS_NS: Final = {
    "duration_ns": 1,
    "duration_us": 1_000,
    "duration_ms": 1_000_000,
    "duration_s": SECOND_NS,
}
FAILED_WORDS: Final = frozenset(
    {
        *("error", "errored", "failed", "failure", "exception", "timeout", "timed_out"),
        *("cancelled", "canceled", "denied", "rejected", "aborted"),
        *("output_error", "output_denied"),
    }
)
# Types of an output that is an error, in the AI SDK.
ERROR_OUTPUTS: Final = frozenset({"error_text", "error_json", "execution_denied"})
NO: Final = frozenset({"0", "false", "no"})
NOTHING: Final = NO | {"", "-", "n/a", "na", "nil", "none", "null", "undefined"}
# A code is shown only if it is one of these or an HTTP status: anything else may be prose.
ERROR_TYPES: Final = frozenset(
    {
        *("timeout", "cancelled", "denied", "not_found", "rate_limited", "unauthorized"),
        *("forbidden", "unavailable", "conflict", "validation_error", "invalid_arguments"),
        "internal_error",
    }
)
ERROR_SYNONYMS: Final = {"timed_out": "timeout", "canceled": "cancelled"}
