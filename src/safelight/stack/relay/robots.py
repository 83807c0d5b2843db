"""The robots of group chats: their message formats, signatures and error codes.

Pure: no clock and no network. DingTalk, Feishu and WeCom return 200 with an error code in the body.
"""

import hashlib
import hmac
import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from safelight.stack.receivers import Channel
from safelight.stack.relay.notice import Notice, bytes_in_json, sanitize

Outcome = Literal["delivered", "refused", "unreachable", "rate_limited"]

_MAX_BODY_BYTES = 20_000  # DingTalk and Feishu
_MAX_CONTENT_BYTES = 4096  # WeCom: of the text alone
_MAX_REASON_LENGTH = 200
_TOO_MANY_REQUESTS = 429


@dataclass(frozen=True, slots=True)
class Message:
    """A request to a robot: the body, and query parameters to add to its address."""

    content: bytes
    params: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The meaning of a robot's response, and the reason, for the log and for Alertmanager."""

    outcome: Outcome
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Robot:
    """One kind of robot.

    `write` takes the notice, the secret and the seconds since 1970. `code` and `message` name the
    response's fields for errors; `limited` are the codes of rate limits, `passing` of errors that
    a retry can solve.
    """

    write: Callable[[Notice, str, float], Message]
    per_minute: int | None = None
    code: str = ""
    message: str = ""
    limited: frozenset[int] = frozenset()
    passing: frozenset[int] = frozenset()

    def judge(self, status: int, body: bytes) -> Verdict:
        """Return the meaning of a response: by its status, then by the code in its body."""
        if status == _TOO_MANY_REQUESTS:
            return Verdict("rate_limited", f"it returned {status}")
        if status >= 500:
            return Verdict("unreachable", f"it returned {status}")
        if not 200 <= status < 300:
            return Verdict("refused", f"it returned {status}")
        return self._judge_code(body) if self.code else Verdict("delivered")

    def _judge_code(self, body: bytes) -> Verdict:
        try:
            content = json.loads(body)
            code, message = int(content[self.code]), str(content.get(self.message, ""))
        except (ValueError, KeyError, TypeError):
            return Verdict(
                "refused", f"it returned no {self.code}: is the address that of a robot?"
            )
        if code == 0:
            return Verdict("delivered")
        reason = f"it returned {self.code} {code}: {sanitize(message, _MAX_REASON_LENGTH)}"
        if code in self.limited:
            return Verdict("rate_limited", reason)
        return Verdict("unreachable" if code in self.passing else "refused", reason)


def dingtalk(notice: Notice, secret: str, now: float) -> Message:
    """Return the message for DingTalk, signed (with milliseconds) in the query parameters."""

    def body(text: str) -> bytes:
        markdown = {"title": notice.title, "text": f"### {notice.title}\n\n{text}"}
        return _json({"msgtype": "markdown", "markdown": markdown, "at": {"isAtAll": False}})

    timestamp = str(round(now * 1000))
    signature = _hmac(secret, f"{timestamp}\n{secret}")
    params = {"timestamp": timestamp, "sign": signature} if secret else {}
    return Message(body(notice.text(_MAX_BODY_BYTES - len(body("")))), params)


def feishu(notice: Notice, secret: str, now: float) -> Message:
    """Return the card for Feishu, signed (with seconds) in the body.

    Its text is plain text, which cannot mention a member of the group.
    """
    head = {
        "title": {"tag": "plain_text", "content": notice.title},
        "template": "red" if notice.firing else "green",
    }
    timestamp = str(int(now))
    # Feishu signs an empty text, with the timestamp and the secret as the key.
    signature = {"timestamp": timestamp, "sign": _hmac(f"{timestamp}\n{secret}", "")}

    def body(text: str) -> bytes:
        part = {"tag": "div", "text": {"tag": "plain_text", "content": text}}
        card = {"header": head, "elements": [part]}
        content = {"msg_type": "interactive", "card": card}
        return _json({**signature, **content} if secret else content)

    return Message(body(notice.text(_MAX_BODY_BYTES - len(body("")), bold="")))


def wecom(notice: Notice, _secret: str, _now: float) -> Message:
    """Return the message for WeCom, whose address is its only secret."""
    head = f"**{notice.title}**\n"
    text = head + notice.text(_MAX_CONTENT_BYTES - bytes_in_json(head))
    return Message(_json({"msgtype": "markdown", "markdown": {"content": text}}))


def webhook(notice: Notice, _secret: str, _now: float) -> Message:
    """Return the body of Alertmanager or Grafana unchanged."""
    return Message(notice.raw)


def _hmac(key: str, text: str) -> str:
    return b64encode(hmac.new(key.encode(), text.encode(), hashlib.sha256).digest()).decode()


def _json(body: object) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode()


ROBOTS: Mapping[Channel, Robot] = {
    "dingtalk": Robot(
        dingtalk,
        per_minute=20,
        code="errcode",
        message="errmsg",
        limited=frozenset({130101, 410100}),
        passing=frozenset({-1}),
    ),
    "feishu": Robot(
        feishu, per_minute=100, code="code", message="msg", limited=frozenset({11232, 99991400})
    ),
    "wecom": Robot(
        wecom,
        per_minute=20,
        code="errcode",
        message="errmsg",
        limited=frozenset({45009}),
        passing=frozenset({-1}),
    ),
    "webhook": Robot(webhook),
}
