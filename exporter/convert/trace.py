"""A run of Conduit as the spans of one trace, after OpenTelemetry's GenAI conventions.

The root is the run, a CLIENT span of a remote agent; each tool call is a child. Usage and cost
stand on the root only, so that nobody adds them up twice. Every attribute passes the allowlist.
"""

from dataclasses import dataclass
from typing import Any, Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind

from exporter.conduit.models import (
    DISPOSITIONS,
    IN_FLIGHT_STATUSES,
    TERMINAL_STATUSES,
    Run,
    RunDetail,
)
from exporter.convert.content import content_json, content_text, output_messages
from exporter.convert.ids import root_span_id_of, tool_span_id_of, trace_id_of
from exporter.convert.redaction import (
    CUT_MARK,
    Patterns,
    cut,
    is_tag,
    mask,
    mask_id,
    one_line,
    storable,
)
from exporter.convert.spans import Attributes, Trace, make_resource, make_span
from exporter.convert.timeline import Interval, ToolTiming, run_interval, tool_intervals
from exporter.convert.tools import OTHER_ERROR, UNKNOWN, Tool, read_tool_trace

NO_DISPOSITION: Final = "none"
OTHER: Final = "other"

_PROVIDER: Final = "conduit"
_FAILED: Final = "failed"
_MS_NS: Final = 1_000_000
_MAX_DESCRIPTION_CHARS: Final = 256
# Of all content together: with a thousand spans around it a trace is still below the 4 MiB that
# receivers of gRPC take by default.
_MAX_CONTENT_BYTES: Final = 2_500_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertOptions:
    """What the operator decides about traces.

    `resource_attributes` come from OTEL_RESOURCE_ATTRIBUTES, without service.name;
    `server_address` and `server_port` from the base URL.
    """

    service_name: str = "conduit"
    resource_attributes: tuple[tuple[str, str], ...] = ()
    tool_timing: ToolTiming = "instants"
    capture_content: bool = False
    redact_patterns: Patterns = ()
    server_address: str = "api.conduit.ai"
    server_port: int | None = None


def known_disposition(text: str | None) -> str:
    """A disposition as a label: `none` for null, `other` for what is none of the documented."""
    if not text:
        return NO_DISPOSITION
    return text if text in DISPOSITIONS else OTHER


def run_to_trace(detail: RunDetail, *, agent_name: str | None, options: ConvertOptions) -> Trace:
    """The trace of a run that was read whole."""
    return _Conversion(detail.run, agent_name, options).whole(detail)


def summary_to_trace(run: Run, *, agent_name: str | None, options: ConvertOptions) -> Trace:
    """The trace of what a list page tells of a run: the root span alone."""
    return _Conversion(run, agent_name, options).summary()


class _Conversion:
    """One run on its way to a trace; an attribute that is None is none."""

    def __init__(self, run: Run, agent_name: str | None, options: ConvertOptions) -> None:
        self._run = run
        self._options = options
        self._patterns = options.redact_patterns
        self._content_room = _MAX_CONTENT_BYTES
        self._agent_name = one_line(agent_name or "")
        self._interval = run_interval(run)
        self._trace_id = trace_id_of(raw=run.trace_id, workspace_id=run.workspace_id, run_id=run.id)
        self._root_id = root_span_id_of(workspace_id=run.workspace_id, run_id=run.id)
        self._resource = make_resource(options.service_name, options.resource_attributes)
        # What every span of the run carries.
        self._shared: Attributes = {
            "gen_ai.agent.name": self._agent_name or None,
            "gen_ai.conversation.id": _id(run.conversation_id),
        }

    def summary(self) -> Trace:
        return Trace(self._trace_id, (self._root({"conduit.trace.detail": "summary"}),))

    def whole(self, detail: RunDetail) -> Trace:
        calls = read_tool_trace(detail.tool_trace, name_of=self._tool_name)
        said = [(tool.start_ns, tool.end_ns) for tool in calls.shown]
        intervals = tool_intervals(self._interval, said, draw=self._options.tool_timing)
        attributes: Attributes = {
            "session.id": _id(detail.session_id),
            "conduit.trigger.event_id": _id(detail.trigger_event_id),
            "conduit.run.disposition_reason": self._tag(detail.disposition_reason),
            "gen_ai.output.messages": self._messages(detail.response),
            "conduit.reflection": self._text(detail.reflection or None),
            "conduit.run.tool_calls": calls.counted.total(),
        }
        tools = map(self._tool, calls.shown, intervals)
        return Trace(self._trace_id, (self._root(attributes), *tools), calls.counted)

    def _root(self, more: Attributes) -> ReadableSpan:
        run, options = self._run, self._options
        failed = run.status == _FAILED
        known = run.status in (*IN_FLIGHT_STATUSES, *TERMINAL_STATUSES)
        attributes: Attributes = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.provider.name": _PROVIDER,
            "gen_ai.agent.id": _id(run.agent_id),
            **self._shared,
            "gen_ai.usage.input_tokens": run.input_tokens,
            "gen_ai.usage.output_tokens": run.output_tokens,
            "server.address": cut(storable(options.server_address)),
            "server.port": options.server_port,
            "conduit.workspace.id": _id(run.workspace_id),
            "conduit.run.id": _id(run.id),
            "conduit.run.backend_id": _id(run.backend_run_id),
            "conduit.run.status": run.status if known else OTHER,
            "conduit.run.disposition": known_disposition(run.disposition)
            if run.disposition
            else None,
            "conduit.run.cost_usd": None if run.cost_usd is None else float(run.cost_usd),
            "conduit.run.duration_ms": None
            if run.duration_ns is None
            else run.duration_ns / _MS_NS,
            "conduit.trigger.id": _id(run.trigger_id),
            "conduit.trace.id": _id(run.trace_id),
            "conduit.timing": self._interval.timing,
            "conduit.time_adjusted": run.time_adjusted or None,
            "conduit.contact.id": self._text(_id(run.contact_id)),
            "conduit.error.message": self._text(run.error or None) if failed else None,
            **more,
            "error.type": OTHER_ERROR if failed else None,
        }
        return self._span(
            name=f"invoke_agent {self._agent_name}".rstrip(),
            kind=SpanKind.CLIENT,
            span_id=self._root_id,
            parent_id=None,
            interval=self._interval,
            attributes=attributes,
            error=self._description(run.error) if failed else None,
        )

    def _tool(self, tool: Tool, interval: Interval) -> ReadableSpan:
        run = self._run
        reason = None
        if tool.failed:
            # A flag says nothing that the status does not; the output of a failed call often does.
            reason = tool.output if isinstance(tool.error, bool | None) else tool.error
        attributes: Attributes = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": tool.name,
            **self._shared,
            "conduit.tool.index": tool.index,
            "conduit.tool.timing": interval.timing,
            "gen_ai.tool.call.id": _id(tool.call_id),
            "conduit.tool.time_clamped": interval.clamped or None,
            "error.type": tool.error_type if tool.failed else None,
            "gen_ai.tool.call.arguments": self._json(tool.input),
            "conduit.error.message": self._text(reason)
            if isinstance(reason, str)
            else self._json(reason),
            "gen_ai.tool.call.result": None if tool.failed else self._json(tool.output),
            "conduit.tool.item": self._json(tool.whole),
        }
        return self._span(
            name=f"execute_tool {tool.name}",
            kind=SpanKind.INTERNAL,
            span_id=tool_span_id_of(
                workspace_id=run.workspace_id, run_id=run.id, index=tool.index, part=tool.part
            ),
            parent_id=self._root_id,
            interval=interval,
            attributes=attributes,
            error="" if tool.failed else None,
        )

    def _span(self, *, interval: Interval, **parts: Any) -> ReadableSpan:
        return make_span(
            trace_id=self._trace_id,
            start_ns=interval.start_ns,
            end_ns=interval.end_ns,
            content=self._options.capture_content,
            resource=self._resource,
            **parts,
        )

    def _text(self, text: str | None) -> str | None:
        """A text of content, where the operator asked for content."""
        if text is None or not self._options.capture_content:
            return None
        return self._fitting(content_text(text, patterns=self._patterns))

    def _json(self, value: Any) -> str | None:
        if value is None or not self._options.capture_content:
            return None
        return self._fitting(content_json(value, patterns=self._patterns))

    def _messages(self, response: str | None) -> str | None:
        if not response or not self._options.capture_content:
            return None
        reason = "error" if self._run.status == _FAILED else "stop"
        return self._fitting(
            output_messages(response, finish_reason=reason, patterns=self._patterns)
        )

    def _fitting(self, content: str) -> str:
        """The content while the trace has room for it, then the mark of what is cut."""
        self._content_room -= len(content.encode())
        return content if self._content_room >= 0 else CUT_MARK

    def _tag(self, text: str | None) -> str | None:
        return mask(text, self._patterns) if text and is_tag(text) else None

    def _tool_name(self, name: str) -> str:
        return one_line(mask(name, self._patterns)) or UNKNOWN

    def _description(self, error: str | None) -> str:
        """The error's first line, masked whatever the settings: it leaves without being asked."""
        lines = mask(error or "", self._patterns).strip().splitlines()
        return one_line(lines[0], max_chars=_MAX_DESCRIPTION_CHARS) if lines else ""


def _id(text: str | None) -> str | None:
    """An id as it is; where guests write by mail or phone, their address may be their id."""
    return cut(mask_id(storable(text))) if text else None
