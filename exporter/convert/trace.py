"""A run of Conduit as the spans of one trace, after OpenTelemetry's GenAI conventions.

The root is the run, a CLIENT span of a remote agent; each tool call is a child. Usage and cost
stand on the root only, so that nobody adds them up twice. Every attribute passes the allowlist.
"""

from dataclasses import dataclass
from typing import Any, Final, Literal

from exporter.conduit.models import Run, RunDetail
from exporter.convert.attributes import ALL, CONTENT_FREE
from exporter.convert.bounds import bounded, is_tag, one_line, printable_name
from exporter.convert.content import content_json, content_text, output_messages
from exporter.convert.ids import span_id_of, trace_id_of
from exporter.convert.redaction import Pattern, mask
from exporter.convert.spans import (
    AttributeValue,
    Span,
    SpanKind,
    StatusCode,
    ToolCall,
    Trace,
)
from exporter.convert.timeline import Interval, run_interval, tool_intervals
from exporter.convert.tools import OTHER_ERROR, UNKNOWN, ToolItem, read_tool_item

__all__ = ["ConvertOptions", "Span", "ToolCall", "Trace", "run_to_trace", "summary_to_trace"]

_PROVIDER: Final = "conduit"
_FAILED: Final = "failed"
_MS_NS: Final = 1_000_000
_LONGEST_DESCRIPTION: Final = 256
_LONGEST_WORD: Final = 64

_Attributes = list[tuple[str, AttributeValue]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertOptions:
    """What the operator decides about traces.

    `resource_attributes` come from OTEL_RESOURCE_ATTRIBUTES, without service.name;
    `server_address` and `server_port` from the base URL.
    """

    service_name: str = "conduit"
    resource_attributes: tuple[tuple[str, str], ...] = ()
    tool_timing: Literal["instants", "slices"] = "instants"
    capture_content: bool = False
    redact_patterns: tuple[Pattern, ...] = ()
    server_address: str = "api.conduit.ai"
    server_port: int | None = None


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
        self._agent_name = printable_name(agent_name) if agent_name else ""
        self._interval = run_interval(run)
        self._trace_id = trace_id_of(raw=run.trace_id, workspace_id=run.workspace_id, run_id=run.id)
        self._root_id = self._span_id("root", None)
        # What every span of the run carries.
        shared: _Attributes = []
        if self._agent_name:
            shared.append(("gen_ai.agent.name", self._agent_name))
        _append_text(shared, "gen_ai.conversation.id", run.conversation_id)
        self._shared = tuple(shared)

    def summary(self) -> Trace:
        attributes = self._run_attributes()
        attributes.append(("conduit.trace.detail", "summary"))
        return Trace(self._trace_id, (self._root(attributes),), ())

    def whole(self, detail: RunDetail) -> Trace:
        indexed = [
            (index, read_tool_item(item))
            for index, item in enumerate(detail.tool_trace)
            if item is not None
        ]
        # A null item keeps its place among those that have no times.
        said: list[tuple[int | None, int | None]] = [(None, None)] * len(detail.tool_trace)
        for index, item in indexed:
            said[index] = (item.start_ns, item.end_ns)
        intervals = tool_intervals(self._interval, said, draw=self._options.tool_timing)

        attributes = self._run_attributes()
        self._append_detail(attributes, detail)
        attributes.append(("conduit.run.tool_calls", len(indexed)))
        spans = [self._root(attributes)]
        tools: list[ToolCall] = []
        for index, item in indexed:
            name = printable_name(mask(item.name, self._patterns)) or UNKNOWN
            spans.append(self._tool(index, name, item, intervals[index]))
            tools.append(ToolCall(name, item.failed))
        return Trace(self._trace_id, tuple(spans), tuple(tools))

    def _root(self, attributes: _Attributes) -> Span:
        failed = self._run.status == _FAILED
        description = ""
        if failed:
            attributes.append(("error.type", OTHER_ERROR))
            description = self._description(self._run.error)
        return Span(
            self._trace_id,
            self._root_id,
            b"",
            f"invoke_agent {self._agent_name}" if self._agent_name else "invoke_agent",
            SpanKind.CLIENT,
            self._interval.start_ns,
            self._interval.end_ns,
            self._allowed(attributes),
            StatusCode.ERROR if failed else StatusCode.UNSET,
            description,
        )

    def _run_attributes(self) -> _Attributes:
        run, options = self._run, self._options
        attributes: _Attributes = [
            ("gen_ai.operation.name", "invoke_agent"),
            ("gen_ai.provider.name", _PROVIDER),
            ("gen_ai.agent.id", bounded(run.agent_id)),
            *self._shared,
        ]
        if run.input_tokens is not None:
            attributes.append(("gen_ai.usage.input_tokens", run.input_tokens))
        if run.output_tokens is not None:
            attributes.append(("gen_ai.usage.output_tokens", run.output_tokens))
        attributes.append(("server.address", bounded(options.server_address)))
        if options.server_port is not None:
            attributes.append(("server.port", options.server_port))
        attributes.append(("conduit.workspace.id", bounded(run.workspace_id)))
        attributes.append(("conduit.run.id", bounded(run.id)))
        _append_text(attributes, "conduit.run.backend_id", run.backend_run_id)
        attributes.append(("conduit.run.status", self._word(run.status)))
        if run.disposition:
            attributes.append(("conduit.run.disposition", self._word(run.disposition)))
        if run.cost_usd is not None:
            attributes.append(("conduit.run.cost_usd", float(run.cost_usd)))
        if run.duration_ns is not None:
            attributes.append(("conduit.run.duration_ms", run.duration_ns / _MS_NS))
        _append_text(attributes, "conduit.trigger.id", run.trigger_id)
        _append_text(attributes, "conduit.trace.id", run.trace_id)
        attributes.append(("conduit.timing", self._interval.timing))
        if run.time_adjusted:
            attributes.append(("conduit.time_adjusted", True))
        if options.capture_content:
            self._append_run_content(attributes)
        return attributes

    def _append_run_content(self, attributes: _Attributes) -> None:
        run = self._run
        if run.contact_id:
            # Where guests write by phone or mail, their address may be their id.
            self._append_content(attributes, "conduit.contact.id", run.contact_id)
        if run.status == _FAILED and run.error:
            self._append_content(attributes, "conduit.error.message", run.error)

    def _append_detail(self, attributes: _Attributes, detail: RunDetail) -> None:
        _append_text(attributes, "session.id", detail.session_id)
        _append_text(attributes, "conduit.trigger.event_id", detail.trigger_event_id)
        if detail.disposition_reason and is_tag(detail.disposition_reason):
            reason = mask(detail.disposition_reason, self._patterns)
            attributes.append(("conduit.run.disposition_reason", reason))
        if not self._options.capture_content:
            return
        if detail.response:
            finish_reason = "error" if self._run.status == _FAILED else "stop"
            messages = output_messages(
                detail.response, finish_reason=finish_reason, patterns=self._patterns
            )
            attributes.append(("gen_ai.output.messages", messages))
        if detail.reflection:
            self._append_content(attributes, "conduit.reflection", detail.reflection)

    def _tool(self, index: int, name: str, item: ToolItem, interval: Interval) -> Span:
        attributes: _Attributes = [
            ("gen_ai.operation.name", "execute_tool"),
            ("gen_ai.tool.name", name),
            *self._shared,
            ("conduit.tool.index", index),
            ("conduit.tool.timing", interval.timing),
        ]
        if item.call_id is not None:
            attributes.append(("gen_ai.tool.call.id", item.call_id))
        if interval.clamped:
            attributes.append(("conduit.tool.time_clamped", True))
        if item.failed:
            attributes.append(("error.type", item.error_type))
        if self._options.capture_content:
            self._append_tool_content(attributes, item)
        return Span(
            self._trace_id,
            self._span_id("tool", index),
            self._root_id,
            f"execute_tool {name}",
            SpanKind.INTERNAL,
            interval.start_ns,
            interval.end_ns,
            self._allowed(attributes),
            StatusCode.ERROR if item.failed else StatusCode.UNSET,
        )

    def _append_tool_content(self, attributes: _Attributes, item: ToolItem) -> None:
        if item.input is not None:
            self._append_content(attributes, "gen_ai.tool.call.arguments", item.input, json=True)
        if item.failed:
            # A flag says nothing that the status does not; the output of a failed call often does.
            reason = item.output if isinstance(item.error, bool | None) else item.error
            if reason is not None:
                self._append_content(
                    attributes, "conduit.error.message", reason, json=not isinstance(reason, str)
                )
        elif item.output is not None:
            self._append_content(attributes, "gen_ai.tool.call.result", item.output, json=True)
        if item.whole is not None:
            self._append_content(attributes, "conduit.tool.item", item.whole, json=True)

    def _append_content(
        self, attributes: _Attributes, name: str, value: Any, *, json: bool = False
    ) -> None:
        write = content_json if json else content_text
        attributes.append((name, write(value, patterns=self._patterns)))

    def _allowed(self, attributes: _Attributes) -> tuple[tuple[str, AttributeValue], ...]:
        allowed = ALL if self._options.capture_content else CONTENT_FREE
        return tuple([pair for pair in attributes if pair[0] in allowed])

    def _word(self, text: str) -> str:
        """A word of a documented set, as it is; a text that is none of the kind, made harmless."""
        if is_tag(text):
            return text
        return one_line(mask(text, self._patterns), max_chars=_LONGEST_WORD)

    def _description(self, error: str | None) -> str:
        """The error's first line, masked whatever the settings: it leaves without being asked."""
        if not error:
            return ""
        lines = mask(error, self._patterns).strip().splitlines()
        return one_line(lines[0], max_chars=_LONGEST_DESCRIPTION) if lines else ""

    def _span_id(self, kind: str, index: int | None) -> bytes:
        return span_id_of(
            kind=kind, workspace_id=self._run.workspace_id, run_id=self._run.id, index=index
        )


def _append_text(attributes: _Attributes, name: str, text: str | None) -> None:
    if text:
        attributes.append((name, bounded(text)))
