"""The kinds of receivers in a monitoring file: of alerts, and of copies of all samples."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

QUIET = "quiet"  # Alertmanager's receiver for alerts that it shows and does not send
_LAST_PORT = 65535
_NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}"

Channel = Literal["dingtalk", "feishu", "wecom", "webhook"]


def _name(text: str) -> str:
    if not re.fullmatch(_NAME, text) or text == QUIET:
        raise ValueError(f"{text[:60]!r} is not a name; use up to 40 letters, digits, - and _")
    return text


def _address(text: str) -> str:
    if not is_address(text):
        raise ValueError("is not an address; write it like https://example.org/hook")
    return text


def _mailbox(text: str) -> str:
    if not re.fullmatch(r"[^@\s,<>]+@[^@\s,<>]+", text):
        raise ValueError(f"{text[:60]!r} is not a mailbox; write it like ops@example.org")
    return text


def _server(text: str) -> str:
    host, _, port = text.rpartition(":")
    valid = re.fullmatch(r"[\w.-]+|\[[0-9a-fA-F:]+\]", host) and re.fullmatch(r"[0-9]{1,5}", port)
    if not valid or not 1 <= int(port) <= _LAST_PORT:
        raise ValueError(f"{text[:60]!r} is not a mail server; write it like smtp.example.org:587")
    return text


def _absolute(path: Path, info: ValidationInfo) -> Path:
    """Return a path relative to the folder of the monitoring file."""
    folder: Path = (info.context or {}).get("folder", Path())
    try:
        return folder / path.expanduser()
    except RuntimeError:
        raise ValueError("there is no such home folder") from None


Name = Annotated[str, AfterValidator(_name)]
Address = Annotated[str, AfterValidator(_address)]
Mailbox = Annotated[str, AfterValidator(_mailbox)]
Server = Annotated[str, AfterValidator(_server)]
Secret = Annotated[Path, AfterValidator(_absolute)]


class Part(BaseModel):
    """A part of the monitoring file. Unknown keys are errors; instances are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Slack(Part):
    """A Slack channel, through an incoming webhook."""

    kind: Literal["slack"]
    url_file: Secret
    channel: str = Field("#safelight", pattern=r"^[#@]?[^\s#@]{1,80}$")


class Webhook(Part):
    """Any server that reads Alertmanager's JSON."""

    kind: Literal["webhook"]
    url: Address | None = None
    url_file: Secret | None = None

    @model_validator(mode="after")
    def _require_one_url(self) -> Self:
        if (self.url is None) == (self.url_file is None):
            raise ValueError("needs either url or url_file")
        return self


class Email(Part):
    """Mailboxes, through an SMTP server."""

    kind: Literal["email"]
    to: tuple[Mailbox, ...] = Field(min_length=1)
    sender: Mailbox
    smarthost: Server
    username: str = ""
    password_file: Secret | None = None
    require_tls: bool = True

    @model_validator(mode="after")
    def _require_both_credentials(self) -> Self:
        if bool(self.username) != (self.password_file is not None):
            raise ValueError("needs both username and password_file, or neither")
        return self


class Signed(Part):
    """A robot in a DingTalk or Feishu group; `secret_file` signs its messages."""

    kind: Literal["dingtalk", "feishu"]
    url_file: Secret
    secret_file: Secret | None = None


class WeCom(Part):
    """A robot in a WeCom group. Its address is its only secret."""

    kind: Literal["wecom"]
    url_file: Secret


class RemoteWrite(Part):
    """A store that Prometheus sends a copy of all samples to. Credentials are in files."""

    url: Address
    username: str = ""
    password_file: Secret | None = None
    token_file: Secret | None = None

    @field_validator("url")
    @classmethod
    def _refuse_secrets(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.username is not None or parts.password is not None:
            raise ValueError("contains a password: write it into a file, and name password_file")
        if parts.query or "#" in url:
            raise ValueError("has a query or fragment: write a token into a file of token_file")
        return url

    @model_validator(mode="after")
    def _require_one_credential(self) -> Self:
        if bool(self.username) != (self.password_file is not None):
            raise ValueError("needs both username and password_file, or neither")
        if self.username and self.token_file is not None:
            raise ValueError("needs either a password or a token")
        return self


Receiver = Annotated[Slack | Webhook | Email | Signed | WeCom, Field(discriminator="kind")]


@dataclass(frozen=True, slots=True)
class Relayed:
    """A receiver that Alertmanager reaches through `safelight alert-relay`."""

    channel: Channel
    url_file: Path
    secret_file: Path | None = None


def secret(path: Path) -> str:
    """Return the content of a secret's file without surrounding space."""
    return path.read_text(encoding="utf-8").strip()


def is_address(text: str) -> bool:
    """Return True if a text is an HTTP or HTTPS address."""
    try:
        parts = urlsplit(text)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return valid and text.isascii() and text.isprintable() and " " not in text
