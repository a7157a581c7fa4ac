"""The one model of every setting: the name it is read by, its type, its default, what it does.

It reads nothing by itself: `loading.load` fills it, and only `app` hands its values on, as plain
values. No text of it shows a secret.
"""

from collections.abc import Callable, Mapping
from datetime import tzinfo
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    AliasChoices,
    AllowInfNan,
    BeforeValidator,
    ByteSize,
    Field,
    NonNegativeInt,
    PlainValidator,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from exporter.conduit.models import DISPOSITIONS, TERMINAL_STATUSES
from exporter.conduit.token import TokenSource
from exporter.convert.redaction import Pattern
from exporter.errors import ConfigError, url_secrets
from exporter.settings import values
from exporter.settings.endpoints import (
    OtlpTarget,
    parse_base_url,
    parse_headers,
    parse_otlp_target,
    parse_url,
)

OTLP: Final = "OTEL_EXPORTER_OTLP_"
OTLP_TRACES: Final = "OTEL_EXPORTER_OTLP_TRACES_"

_DEFAULT_ENDPOINTS: Final = {
    "http/protobuf": "http://localhost:4318",
    "grpc": "http://localhost:4317",
}
_USUAL_PORTS: Final[dict[int | None, str]] = {4317: "grpc", 4318: "http/protobuf"}

_MIN_SECRET_CHARS: Final = 6
_MEBIBYTE: Final = 1 << 20

# The OpenTelemetry specification takes the words of its settings in any case; so do ours.
_LOWER: Final = BeforeValidator(str.lower)
_TEXT: Final = AfterValidator(values.parse_text)


def _secret(parse: Callable[[str], object]) -> AfterValidator:
    """What `parse` makes of a secret, kept as one."""

    def parse_secret(secret: SecretStr) -> SecretStr:
        return SecretStr(str(parse(secret.get_secret_value())))

    return AfterValidator(parse_secret)


def _parse_token(text: str) -> str:
    try:
        return TokenSource(text=text).current()
    except ConfigError as exc:
        raise ValueError(exc.problems[0].removeprefix("The token ")) from None


def _parse_target(text: str, info: ValidationInfo) -> OtlpTarget:
    return parse_otlp_target(
        text,
        protocol=info.data.get("otlp_protocol", "http/protobuf"),
        insecure=info.data.get("otlp_insecure", False),
        is_base=info.field_name == "otlp_endpoint",
    )


_File = Annotated[Path, PlainValidator(values.parse_file)]
_Target = Annotated[OtlpTarget, PlainValidator(_parse_target)]
_Duration = Annotated[float, PlainValidator(values.parse_duration_s)]


def _setting(name: str, default: str | None, description: str) -> Any:
    """A setting that is read from `name`; its default is a text that passes the same checks."""
    return Field(default, validation_alias=name, description=description)


def _otlp(option: str, default: str | None, description: str) -> Any:
    """A setting of the trace backend: its form for traces goes before the general one."""
    names = AliasChoices(OTLP_TRACES + option, OTLP + option)
    return Field(default, validation_alias=names, description=description)


class Settings(BaseSettings):
    """Every setting, checked and typed."""

    model_config = SettingsConfigDict(
        frozen=True,
        case_sensitive=True,
        enable_decoding=False,
        extra="forbid",
        hide_input_in_errors=True,
        validate_default=True,
    )

    # --- Conduit ---
    api_token_file: Annotated[Path, PlainValidator(values.parse_token_file)] | None = _setting(
        "CONDUIT_API_TOKEN_FILE",
        None,
        "File that holds the token; read again when it changes and after a 401",
    )
    api_token: Annotated[SecretStr, _secret(_parse_token)] | None = _setting(
        "CONDUIT_API_TOKEN",
        None,
        "Token of the Conduit API; either this or CONDUIT_API_TOKEN_FILE is required",
    )
    base_url: Annotated[str, PlainValidator(parse_base_url)] = _setting(
        "CONDUIT_BASE_URL", "https://api.conduit.ai", "Address of the Conduit API, without /v1"
    )
    proxy: Annotated[SecretStr, _secret(parse_url)] | None = _setting(
        "CONDUIT_PROXY", None, "URL of the proxy to the Conduit API; HTTPS_PROXY is not followed"
    )
    ca_file: _File | None = _setting(
        "CONDUIT_CA_FILE", None, "PEM file of the authorities to trust for the Conduit API"
    )
    workspaces: Annotated[tuple[str, ...], PlainValidator(values.parse_ids)] = _setting(
        "CONDUIT_WORKSPACES", "", "Ids of the workspaces to read, separated by commas"
    )
    runs: Annotated[tuple[tuple[str, str], ...], PlainValidator(values.parse_runs)] = _setting(
        "CONDUIT_RUNS",
        "",
        "Runs to fetch by name, agent_id/run_id by commas; those in flight are waited for",
    )
    agents: Annotated[frozenset[str] | None, PlainValidator(values.parse_agents)] = _setting(
        "CONDUIT_AGENTS", "*", "Ids of the agents to read, separated by commas; `*` for all"
    )
    requests_per_minute: Annotated[PositiveFloat, AllowInfNan(allow_inf_nan=False)] = _setting(
        "CONDUIT_REQUESTS_PER_MINUTE",
        "90",
        "Requests a minute that each workspace may spend; Conduit grants 120 by default, shared "
        "with everything else that uses the workspace",
    )

    # --- Reading ---
    poll_interval_s: Annotated[
        float, PlainValidator(partial(values.parse_duration_s, min_s=0.5))
    ] = _setting(
        "EXPORTER_POLL_INTERVAL",
        "15s",
        "How often an agent's list is read, from 500ms; idle agents more rarely",
    )
    lookback_s: _Duration = _setting(
        "EXPORTER_LOOKBACK",
        "24h",
        "How far back a first start reads; 0s: only runs created from then on",
    )
    total_shards: PositiveInt = _setting(
        "EXPORTER_TOTAL_SHARDS",
        "1",
        "How many instances share the workspaces; each reads those whose id hashes to its shard",
    )
    shard: NonNegativeInt = _setting(
        "EXPORTER_SHARD", "0", "Which of the shards this instance is, counted from 0"
    )

    # --- Ledger ---
    ledger_path: Annotated[Path, PlainValidator(values.parse_ledger_path)] = _setting(
        "EXPORTER_LEDGER",
        "sqlite:///conduit-exporter.db",
        "File in which the exporter remembers what it counted and delivered: sqlite:///PATH",
    )
    retention_s: _Duration = _setting(
        "EXPORTER_RETENTION", "7d", "How long delivered traces and settled runs are kept"
    )
    outbox_limit_bytes: Annotated[ByteSize, Field(ge=_MEBIBYTE)] = _setting(
        "EXPORTER_OUTBOX_LIMIT",
        "1GiB",
        "Undelivered traces at which fetching pauses; nothing is dropped",
    )

    # --- Traces ---
    sdk_disabled: bool = _setting(
        "OTEL_SDK_DISABLED", "false", "true: no traces, as OTEL_TRACES_EXPORTER=none"
    )
    traces_exporter: Annotated[Literal["otlp", "console", "none"], _LOWER] = _setting(
        "OTEL_TRACES_EXPORTER",
        "otlp",
        "Where traces go: otlp, console (standard output) or none (metrics only)",
    )
    otel_service_name: Annotated[str, _TEXT] | None = _setting(
        "OTEL_SERVICE_NAME", None, "service.name of every trace"
    )
    otel_resource_attributes: Annotated[
        tuple[tuple[str, str], ...], PlainValidator(values.parse_pairs)
    ] = _setting(
        "OTEL_RESOURCE_ATTRIBUTES",
        "",
        "Resource attributes of every trace, key=value separated by commas, percent-encoded",
    )
    trace_detail: Annotated[Literal["full", "summary"], _LOWER] = _setting(
        "EXPORTER_TRACE_DETAIL",
        "full",
        "full: a span for each tool call, one request a run; summary: the run's span alone, no "
        "request",
    )
    trace_sample_ratio: Annotated[float, Field(ge=0, le=1)] = _setting(
        "EXPORTER_TRACE_SAMPLE_RATIO",
        "1.0",
        "Share of runs that become traces, 0 to 1; metrics count every run",
    )
    trace_always: Annotated[
        frozenset[str],
        PlainValidator(partial(values.parse_words, known=(*TERMINAL_STATUSES, *DISPOSITIONS))),
    ] = _setting(
        "EXPORTER_TRACE_ALWAYS",
        "failed,escalated,escalation_and_answer",
        "Statuses and dispositions that become traces whatever the ratio, separated by commas; "
        "`none` for no exception",
    )
    tool_timing: Annotated[Literal["instants", "slices"], _LOWER] = _setting(
        "EXPORTER_TOOL_TIMING",
        "instants",
        "Tool calls without a time of their own are drawn as instants or as equal slices of the "
        "run; marked as synthetic either way",
    )

    # --- Content ---
    capture_content: bool = _setting(
        "EXPORTER_CAPTURE_CONTENT",
        "false",
        "Whether responses, reflections, tool inputs and outputs go into traces, masked",
    )
    redact_patterns: Annotated[tuple[Pattern, ...], PlainValidator(values.parse_patterns)] = (
        _setting(
            "EXPORTER_REDACT",
            "",
            "Regular expressions (RE2, as in Prometheus) of what to mask besides e-mail "
            "addresses, phone and card numbers, one a line",
        )
    )

    # --- Trace backend, by OpenTelemetry's own names ---
    otlp_protocol: Annotated[Literal["http/protobuf", "grpc"], _LOWER] = _otlp(
        "PROTOCOL", "http/protobuf", "http/protobuf or grpc"
    )
    otlp_insecure: bool = _otlp(
        "INSECURE", "false", "With grpc and an endpoint without a scheme: true for no TLS"
    )
    otlp_endpoint: _Target | None = _setting(
        f"{OTLP}ENDPOINT", None, "Address of the trace backend; over HTTP, /v1/traces is added"
    )
    otlp_traces_endpoint: _Target | None = _setting(
        f"{OTLP_TRACES}ENDPOINT", None, "Address for traces alone, used exactly as it is"
    )
    otlp_headers: Annotated[tuple[tuple[str, SecretStr], ...], PlainValidator(parse_headers)] = (
        _otlp("HEADERS", "", "Headers sent along, name=value separated by commas, percent-encoded")
    )
    otlp_timeout_ms: Annotated[int, Field(ge=100, le=600_000)] = _otlp(
        "TIMEOUT", "10000", "How long one request may take, in milliseconds"
    )
    otlp_compression: Annotated[Literal["none", "gzip"], _LOWER] = _otlp(
        "COMPRESSION", "none", "gzip or none"
    )
    otlp_certificate: _File | None = _otlp(
        "CERTIFICATE", None, "PEM file of the authorities to trust"
    )
    otlp_client_key: _File | None = _otlp(
        "CLIENT_KEY", None, "PEM file of the client's private key"
    )
    otlp_client_certificate: _File | None = _otlp(
        "CLIENT_CERTIFICATE", None, "PEM file of the client's certificate"
    )

    # --- Metrics and pages ---
    listen: Annotated[values.ListenAddress, PlainValidator(values.parse_listen)] = _setting(
        "EXPORTER_LISTEN",
        "0.0.0.0:10464",
        "Where /metrics, the health checks and the pages are served, host:port",
    )
    web_config_file: _File | None = _setting(
        "EXPORTER_WEB_CONFIG_FILE",
        None,
        "TLS and basic auth, in the format of Prometheus' exporter-toolkit",
    )
    max_label_values: PositiveInt = _setting(
        "EXPORTER_MAX_LABEL_VALUES",
        "100",
        "Distinct tool names an agent may bring into the metrics; the rest counts as `other`",
    )
    monthly_budget_usd: Annotated[
        Mapping[str, Decimal], PlainValidator(values.parse_budget_usd)
    ] = _setting(
        "EXPORTER_MONTHLY_BUDGET_USD",
        "",
        "Dollars a month, to be compared with the cost: workspace_id=amount separated by commas, "
        "or one amount for each workspace",
    )
    timezone: Annotated[tzinfo, PlainValidator(values.parse_timezone)] = _setting(
        "EXPORTER_TIMEZONE", "UTC", "Time zone of the calendar days and months of cost"
    )
    trace_link: Annotated[str, AfterValidator(values.parse_trace_link)] | None = _setting(
        "EXPORTER_TRACE_LINK",
        None,
        "Address of a trace's page in your trace backend, with {trace_id}; makes ids links",
    )

    # --- Logs ---
    log_level: Annotated[Literal["debug", "info", "warning", "error"], _LOWER] = _setting(
        "EXPORTER_LOG_LEVEL", "info", "debug, info, warning or error"
    )
    log_format: Annotated[Literal["text", "json"], _LOWER] = _setting(
        "EXPORTER_LOG_FORMAT", "text", "text, or json (an object a line)"
    )

    # No setting of ours: read only to tell that it is not followed.
    https_proxy: SecretStr | None = Field(
        None, validation_alias=AliasChoices("HTTPS_PROXY", "https_proxy")
    )

    @field_validator("api_token")
    @classmethod
    def _check_one_token(cls, token: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        file = info.data.get("api_token_file")
        if token is not None and file is not None:
            raise ValueError("is given beside CONDUIT_API_TOKEN_FILE; keep one of the two")
        if token is None and file is None and "api_token_file" in info.data:
            raise ValueError(
                "is missing; allowed: the token here, "
                "or in CONDUIT_API_TOKEN_FILE the file that holds it"
            )
        return token

    @field_validator("shard")
    @classmethod
    def _check_shard_exists(cls, shard: int, info: ValidationInfo) -> int:
        total = info.data.get("total_shards")
        if total is not None and shard >= total:
            raise ValueError(f"is {shard}, but EXPORTER_TOTAL_SHARDS is {total}; the first is 0")
        return shard

    @field_validator("otlp_client_certificate")
    @classmethod
    def _check_key_beside_certificate(
        cls, certificate: Path | None, info: ValidationInfo
    ) -> Path | None:
        key = info.data.get("otlp_client_key", certificate)
        if (certificate is None) != (key is None):
            raise ValueError(
                f"a client certificate and its key ({OTLP}CLIENT_KEY) go together; "
                f"{'this' if key else 'the key'} is missing"
            )
        return certificate

    @field_validator("traces_exporter")
    @classmethod
    def _disable_traces(cls, chosen: str, info: ValidationInfo) -> str:
        return "none" if info.data.get("sdk_disabled") else chosen

    @property
    def service_name(self) -> str:
        """service.name: its own setting, else the resource attribute, else `conduit`."""
        named = dict(self.otel_resource_attributes).get("service.name")
        return self.otel_service_name or named or "conduit"

    @property
    def resource_attributes(self) -> tuple[tuple[str, str], ...]:
        """The resource attributes but for service.name."""
        return tuple(item for item in self.otel_resource_attributes if item[0] != "service.name")

    @property
    def conduit_server(self) -> tuple[str, int | None]:
        """Host of the Conduit API, and its port where that is not the scheme's own."""
        url = urlsplit(self.base_url)
        return url.hostname or "", url.port

    @property
    def otlp_target(self) -> OtlpTarget:
        """Where traces are sent; the form for traces goes before the general one."""
        named = self.otlp_traces_endpoint or self.otlp_endpoint
        default = _DEFAULT_ENDPOINTS[self.otlp_protocol]
        return named or parse_otlp_target(default, protocol=self.otlp_protocol)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What works, but should be known at every start."""
        found = []
        if self.base_url.startswith("http:") and not values.is_loopback(self.conduit_server[0]):
            found.append(
                f"CONDUIT_BASE_URL {self.base_url} has no TLS: "
                "the token travels readable by everyone on the way"
            )
        if self.https_proxy is not None and self.proxy is None:
            found.append("HTTPS_PROXY is set but not followed: a proxy is named by CONDUIT_PROXY")
        if self.sdk_disabled:
            found.append("OTEL_SDK_DISABLED is true: no traces are made, metrics alone")
        destination = self.otlp_target.destination
        url = urlsplit(destination) if destination.startswith("http") else urlsplit("")
        if _USUAL_PORTS.get(url.port, self.otlp_protocol) != self.otlp_protocol:
            found.append(
                f"{destination}: {url.port} is usually the port of {_USUAL_PORTS[url.port]}, "
                f"but {OTLP}PROTOCOL is {self.otlp_protocol}"
            )
        if (
            self.otlp_headers
            and url.scheme == "http"
            and not values.is_loopback(url.hostname or "")
        ):
            found.append(f"the headers for {destination} are sent unencrypted: use https")
        return tuple(found)

    def secrets(self) -> tuple[str, ...]:
        """Every secret among the settings, for logs to mask; the token file is not read."""
        found = [_plain(self.api_token), *url_secrets(_plain(self.proxy))]
        found += url_secrets(_plain(self.otlp_target.address))
        found += [_plain(value) for _, value in self.otlp_headers]
        # Shorter ones are words ("true", "gzip") that would tear holes into every line.
        return tuple(dict.fromkeys(one for one in found if len(one) >= _MIN_SECRET_CHARS))


def _plain(secret: SecretStr | None) -> str:
    return "" if secret is None else secret.get_secret_value()
