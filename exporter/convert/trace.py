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
from exporter.convert.redaction import Patterns, mask, mask_id
from exporter.convert.spans import Attributes, AttributeValue, Trace, make_resource, make_span
from exporter.convert.text import cut, is_tag, one_line, storable
from exporter.convert.timeline import Interval, ToolTiming, run_interval, tool_intervals
from exporter.convert.tools import OTHER_ERROR, UNKNOWN, Tool, read_tool_trace

NO_DISPOSITION: Final = "none"
OTHER: Final = "other"

_PROVIDER: Final = "conduit"
_FAILED: Final = "failed"
_MS_NS: Final = 1_000_000
_MAX_DESCRIPTION_CHARS: Final = 256


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
    """One run on its way to a trace."""

    def __init__(self, run: Run, agent_name: str | None, options: ConvertOptions) -> None:
        self._run = run
        self._options = options
        self._patterns = options.redact_patterns
        self._agent_name = one_line(agent_name or "")
        self._interval = run_interval(run)
        self._trace_id = trace_id_of(raw=run.trace_id, workspace_id=run.workspace_id, run_id=run.id)
        self._root_id = root_span_id_of(workspace_id=run.workspace_id, run_id=run.id)
        self._resource = make_resource(options.service_name, options.resource_attributes)
        # What every span of the run carries.
        self._shared: Attributes = {}
        if self._agent_name:
            self._shared["gen_ai.agent.name"] = self._agent_name
        _add_id(self._shared, "gen_ai.conversation.id", run.conversation_id)

    def summary(self) -> Trace:
        attributes = self._run_attributes()
        attributes["conduit.trace.detail"] = "summary"
        return Trace(self._trace_id, (self._root(attributes),))

    def whole(self, detail: RunDetail) -> Trace:
        calls = read_tool_trace(detail.tool_trace, name_of=self._tool_name)
        said = [(tool.start_ns, tool.end_ns) for tool in calls.shown]
        intervals = tool_intervals(self._interval, said, draw=self._options.tool_timing)

        attributes = self._run_attributes()
        self._add_detail(attributes, detail)
        attributes["conduit.run.tool_calls"] = calls.counted.total()
        tools = map(self._tool, calls.shown, intervals)
        return Trace(self._trace_id, (self._root(attributes), *tools), calls.counted)

    def _root(self, attributes: Attributes) -> ReadableSpan:
        failed = self._run.status == _FAILED
        if failed:
            attributes["error.type"] = OTHER_ERROR
        return self._span(
            name=f"invoke_agent {self._agent_name}" if self._agent_name else "invoke_agent",
            kind=SpanKind.CLIENT,
            span_id=self._root_id,
            parent_id=None,
            interval=self._interval,
            attributes=attributes,
            error=self._description(self._run.error) if failed else None,
        )

    def _run_attributes(self) -> Attributes:
        run, options = self._run, self._options
        attributes: Attributes = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.provider.name": _PROVIDER,
        }
        _add_id(attributes, "gen_ai.agent.id", run.agent_id)
        attributes |= self._shared
        _add(attributes, "gen_ai.usage.input_tokens", run.input_tokens)
        _add(attributes, "gen_ai.usage.output_tokens", run.output_tokens)
        _add(attributes, "server.address", cut(storable(options.server_address)))
        _add(attributes, "server.port", options.server_port)
        _add_id(attributes, "conduit.workspace.id", run.workspace_id)
        _add_id(attributes, "conduit.run.id", run.id)
        _add_id(attributes, "conduit.run.backend_id", run.backend_run_id)
        known = run.status in (*IN_FLIGHT_STATUSES, *TERMINAL_STATUSES)
        attributes["conduit.run.status"] = run.status if known else OTHER
        if run.disposition:
            attributes["conduit.run.disposition"] = known_disposition(run.disposition)
        if run.cost_usd is not None:
            attributes["conduit.run.cost_usd"] = float(run.cost_usd)
        if run.duration_ns is not None:
            attributes["conduit.run.duration_ms"] = run.duration_ns / _MS_NS
        _add_id(attributes, "conduit.trigger.id", run.trigger_id)
        _add_id(attributes, "conduit.trace.id", run.trace_id)
        attributes["conduit.timing"] = self._interval.timing
        if run.time_adjusted:
            attributes["conduit.time_adjusted"] = True
        if options.capture_content:
            self._add_run_content(attributes)
        return attributes

    def _add_run_content(self, attributes: Attributes) -> None:
        if self._run.contact_id:
            attributes["conduit.contact.id"] = self._text(self._run.contact_id)
        if self._run.status == _FAILED and self._run.error:
            attributes["conduit.error.message"] = self._text(self._run.error)

    def _add_detail(self, attributes: Attributes, detail: RunDetail) -> None:
        _add_id(attributes, "session.id", detail.session_id)
        _add_id(attributes, "conduit.trigger.event_id", detail.trigger_event_id)
        if detail.disposition_reason and is_tag(detail.disposition_reason):
            reason = mask(detail.disposition_reason, self._patterns)
            attributes["conduit.run.disposition_reason"] = reason
        if not self._options.capture_content:
            return
        if detail.response:
            attributes["gen_ai.output.messages"] = output_messages(
                detail.response,
                finish_reason="error" if self._run.status == _FAILED else "stop",
                patterns=self._patterns,
            )
        if detail.reflection:
            attributes["conduit.reflection"] = self._text(detail.reflection)

    def _tool(self, tool: Tool, interval: Interval) -> ReadableSpan:
        attributes: Attributes = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": tool.name,
            **self._shared,
            "conduit.tool.index": tool.index,
            "conduit.tool.timing": interval.timing,
        }
        _add_id(attributes, "gen_ai.tool.call.id", tool.call_id)
        if interval.clamped:
            attributes["conduit.tool.time_clamped"] = True
        if tool.failed:
            attributes["error.type"] = tool.error_type
        if self._options.capture_content:
            self._add_tool_content(attributes, tool)
        return self._span(
            name=f"execute_tool {tool.name}",
            kind=SpanKind.INTERNAL,
            span_id=tool_span_id_of(
                workspace_id=self._run.workspace_id,
                run_id=self._run.id,
                index=tool.index,
                part=tool.part,
            ),
            parent_id=self._root_id,
            interval=interval,
            attributes=attributes,
            error="" if tool.failed else None,
        )

    def _add_tool_content(self, attributes: Attributes, tool: Tool) -> None:
        if tool.input is not None:
            attributes["gen_ai.tool.call.arguments"] = self._json(tool.input)
        if tool.failed:
            # A flag says nothing that the status does not; the output of a failed call often does.
            reason = tool.output if isinstance(tool.error, bool | None) else tool.error
            if reason is not None:
                write = self._text if isinstance(reason, str) else self._json
                attributes["conduit.error.message"] = write(reason)
        elif tool.output is not None:
            attributes["gen_ai.tool.call.result"] = self._json(tool.output)
        if tool.whole is not None:
            attributes["conduit.tool.item"] = self._json(tool.whole)

    def _span(self, *, interval: Interval, **parts: Any) -> ReadableSpan:
        return make_span(
            trace_id=self._trace_id,
            start_ns=interval.start_ns,
            end_ns=interval.end_ns,
            content=self._options.capture_content,
            resource=self._resource,
            **parts,
        )

    def _text(self, text: str) -> str:
        return content_text(text, patterns=self._patterns)

    def _json(self, value: Any) -> str:
        return content_json(value, patterns=self._patterns)

    def _tool_name(self, name: str) -> str:
        return one_line(mask(name, self._patterns)) or UNKNOWN

    def _description(self, error: str | None) -> str:
        """The error's first line, masked whatever the settings: it leaves without being asked."""
        lines = mask(error or "", self._patterns).strip().splitlines()
        return one_line(lines[0], max_chars=_MAX_DESCRIPTION_CHARS) if lines else ""


def _add(attributes: Attributes, name: str, value: AttributeValue | None) -> None:
    if value is not None:
        attributes[name] = value


def _add_id(attributes: Attributes, name: str, text: str | None) -> None:
    """An id as it is; where guests write by mail or phone, their address may be their id."""
    if text:
        attributes[name] = cut(mask_id(storable(text)))
