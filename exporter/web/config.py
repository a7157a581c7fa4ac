"""The web config file: TLS and users, in the format of Prometheus' exporter-toolkit.

A key that is not supported is refused by its name, never ignored, and no value of the file is
repeated in a message: it may be a secret. A changed file is taken over whole or not at all.
"""

import logging
import re
import ssl
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo

from exporter.errors import ConfigError

logger = logging.getLogger("exporter.web")

_BCRYPT: Final = re.compile(r"\$2[abxy]\$([0-9]{2})\$[./A-Za-z0-9]{53}\Z")
# At 16 one check takes seconds of a processor, and anybody may ask for one.
_BCRYPT_COSTS: Final = range(4, 17)
_VERSIONS: Final = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_VERIFY: Final = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}


def _beside_the_file(path: Path, info: ValidationInfo) -> Path:
    return info.context["folder"] / path if info.context else path


def _user_name(text: str) -> str:
    if not text or ":" in text:
        raise ValueError("a user name has at least one character and no colon")
    return text


def _bcrypt_hash(text: str) -> str:
    matched = _BCRYPT.match(text)
    if matched is None:
        raise ValueError("is not a bcrypt hash; `htpasswd -nBC 10 NAME` makes one")
    if int(matched[1]) not in _BCRYPT_COSTS:
        raise ValueError("bcrypt's cost must be from 4 to 16")
    return text


_File = Annotated[Path, AfterValidator(_beside_the_file)]
_UserName = Annotated[str, AfterValidator(_user_name)]
_Hash = Annotated[str, AfterValidator(_bcrypt_hash)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TlsConfig(_Section):
    """`tls_server_config`; relative paths are relative to the folder of the file."""

    cert_file: _File
    key_file: _File
    client_auth_type: Literal[
        "NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert"
    ] = "NoClientCert"
    client_ca_file: _File | None = None
    min_version: Literal["TLS12", "TLS13"] = "TLS12"


class HttpConfig(_Section):
    """`http_server_config`."""

    http2: Literal[False] = False


class WebConfig(_Section):
    """The whole file; `basic_auth_users` are bcrypt hashes by name."""

    tls_server_config: TlsConfig | None = None
    http_server_config: HttpConfig | None = None
    basic_auth_users: dict[_UserName, _Hash] | None = Field(default=None, repr=False)


_SUPPORTED: Final[Mapping[tuple[int | str, ...], Iterable[str]]] = {
    (): WebConfig.model_fields,
    ("tls_server_config",): TlsConfig.model_fields,
    ("http_server_config",): HttpConfig.model_fields,
}


def parse_web_config(text: str, *, folder: Path) -> WebConfig:
    """The file's meaning; relative paths are relative to `folder`. Raises ConfigError."""
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # The error's own text quotes the file.
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f"line {mark.line + 1}: "
        raise ConfigError([f"{where}not YAML"]) from None
    try:
        config = WebConfig.model_validate(
            {} if content is None else content, context={"folder": folder}
        )
    except ValidationError as error:
        details = error.errors(include_input=False, include_url=False)
        raise ConfigError(
            [_problem(one["type"], one["loc"], one["msg"]) for one in details]
        ) from None
    tls = config.tls_server_config
    if tls is not None and (tls.client_auth_type == "NoClientCert") != (tls.client_ca_file is None):
        raise ConfigError(
            ["tls_server_config: client_ca_file and a verifying client_auth_type need each other"]
        )
    return config


class WebConfigFile:
    """The web config file in use, and the TLS context made of it. Raises ConfigError.

    `path` None stands for an empty file. `reloaded` says whether the file as it is now is the one
    in use; it is None where there is no file.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._signature: tuple[Any, ...] = ()
        self._problem = ""
        self.config = WebConfig()
        self.context: ssl.SSLContext | None = None
        self.reloaded: bool | None = None
        if path is not None:
            self.config, self.context, self._signature = _load(path)
            self.reloaded = True

    @property
    def users(self) -> Mapping[str, str]:
        """The bcrypt hash of each user; empty where nobody is asked for a password."""
        return self.config.basic_auth_users or {}

    def refresh(self) -> None:
        """Take over a changed file or certificate; blocks on the disk, never raises.

        What is refused is tried again each time: a certificate that it names may come later.
        """
        if self._path is None:
            return
        if self.reloaded and (_stat(self._path), *_named(self.config)) == self._signature:
            return
        try:
            config, context, signature = _load(self._path)
            self._check_switches(self._path, config)
        except ConfigError as error:
            self.reloaded = False
            if str(error) != self._problem:
                self._problem = str(error)
                logger.error("The web config file was not reloaded: %s", error)  # noqa: TRY400 - no bug of ours, no traceback
            return
        self.config, self.context, self._signature = config, context, signature
        self.reloaded, self._problem = True, ""
        logger.info("The web config file was reloaded")

    def _check_switches(self, path: Path, new: WebConfig) -> None:
        """What a file that is empty while it is written would open to everyone."""
        if (self.config.tls_server_config is None) != (new.tls_server_config is None):
            raise ConfigError([f"{path}: only a restart switches TLS on or off"])
        if self.users and not new.basic_auth_users:
            raise ConfigError([f"{path}: only a restart switches passwords off"])


def _problem(kind: str, loc: tuple[int | str, ...], message: str) -> str:
    name = ".".join(str(part) for part in loc if part != "[key]") or "the file"
    if kind == "extra_forbidden":
        return f"{name}: is not supported; supported are {', '.join(_SUPPORTED[loc[:-1]])}"
    words = message.removeprefix("Value error, ")
    return f"{name}: {words[0].lower()}{words[1:]}"


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _named(config: WebConfig) -> Iterable[tuple[int, int, int] | None]:
    """What changes whenever a file that the web config names is replaced or written."""
    tls = config.tls_server_config
    files = () if tls is None else (tls.cert_file, tls.key_file, tls.client_ca_file)
    return [_stat(one) for one in files if one is not None]


def _load(path: Path) -> tuple[WebConfig, ssl.SSLContext | None, tuple[Any, ...]]:
    """What the file says, the context, and what tells both from what is written from now on."""
    own = _stat(path)
    try:
        config = parse_web_config(_text(path), folder=path.parent)
        named = _named(config)
        tls = config.tls_server_config
        return config, None if tls is None else _tls_context(tls), (own, *named)
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: is not UTF-8"]) from error
    except ConfigError as error:
        raise ConfigError([f"{path}: {problem}" for problem in error.problems]) from None


def _text(path: Path) -> str:
    if path.exists() and not path.is_file():
        # Reading a pipe or a device would never end.
        raise ConfigError(["is no regular file"])
    return path.read_text(encoding="utf-8")


def _tls_context(tls: TlsConfig) -> ssl.SSLContext:
    """A server's TLS context; reads the certificates. Raises ConfigError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.minimum_version = _VERSIONS[tls.min_version]
    context.set_alpn_protocols(["http/1.1"])
    files = f"cert_file {tls.cert_file} and key_file {tls.key_file}"
    try:
        # Without a password OpenSSL would ask a terminal for that of an encrypted key.
        context.load_cert_chain(tls.cert_file, tls.key_file, password=lambda: "")
        if tls.client_ca_file is not None:
            files = f"client_ca_file {tls.client_ca_file}"
            context.load_verify_locations(tls.client_ca_file)
    except OSError as error:
        reason = getattr(error, "reason", None) or error.strerror or error
        raise ConfigError([f"tls_server_config: {files} cannot be loaded: {reason}"]) from error
    context.verify_mode = _VERIFY[tls.client_auth_type]
    return context
