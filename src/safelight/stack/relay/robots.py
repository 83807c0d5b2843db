"""The robots of group chats: how each is signed and written to, and what its answers mean.

Pure: no clock and no network. DingTalk, Feishu and WeCom answer 200 and put their own error code
into the body, so a status says little.
"""

import hashlib
import hmac
import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from safelight.stack.receivers import Channel
from safelight.stack.relay.notice import Notice, tame

Outcome = Literal["delivered", "refused", "unreachable", "rate_limited"]

_MOST_BYTES = 16_000  # DingTalk and Feishu take 20 000 of the whole body
_MOST_BYTES_WECOM = 4096
_LONGEST_REASON = 200
_TOO_MANY = 429


@dataclass(frozen=True, slots=True)
class Letter:
    """What is posted: the body, and what is added to the robot's address."""

    content: bytes
    params: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a robot's answer means, and why, for the log and for Alertmanager."""

    outcome: Outcome
    why: str = ""


@dataclass(frozen=True, slots=True)
class Robot:
    """One kind of robot; `code` is where its answers hold their error, `passing` those that pass.

    `write` takes the notice, the secret and the seconds since 1970.
    """

    write: Callable[[Notice, str, float], Letter]
    per_minute: int | None = None
    code: str = ""
    message: str = ""
    limited: frozenset[int] = frozenset()
    passing: frozenset[int] = frozenset()

    def judge(self, status: int, body: bytes) -> Verdict:
        """Return what an answer means: its status first, then the robot's own code."""
        if status == _TOO_MANY:
            return Verdict("rate_limited", f"it answered {status}")
        if status >= 500:
            return Verdict("unreachable", f"it answered {status}")
        if not 200 <= status < 300:
            return Verdict("refused", f"it answered {status}")
        return self._judge_code(body) if self.code else Verdict("delivered")

    def _judge_code(self, body: bytes) -> Verdict:
        try:
            told = json.loads(body)
            code, said = int(told[self.code]), str(told.get(self.message, ""))
        except (ValueError, KeyError, TypeError):
            return Verdict("refused", f"it answered without {self.code}: is the address a robot's?")
        if code == 0:
            return Verdict("delivered")
        why = f"it answered {self.code} {code}: {tame(said, _LONGEST_REASON)}"
        if code in self.limited:
            return Verdict("rate_limited", why)
        return Verdict("unreachable" if code in self.passing else "refused", why)


def dingtalk(notice: Notice, secret: str, now: float) -> Letter:
    """Return the message for DingTalk; the signature, of milliseconds, goes into the address."""
    text = f"### {notice.title}\n\n{notice.text(_MOST_BYTES)}"
    body = {
        "msgtype": "markdown",
        "markdown": {"title": notice.title, "text": text},
        "at": {"isAtAll": False},
    }
    moment = str(round(now * 1000))
    signature = _hmac(secret, f"{moment}\n{secret}")
    return Letter(_json(body), {"timestamp": moment, "sign": signature} if secret else {})


def feishu(notice: Notice, secret: str, now: float) -> Letter:
    """Return the card for Feishu; the signature, of seconds, goes into the body.

    Its text is plain: no markdown is read, so nobody can be called.
    """
    head = {
        "title": {"tag": "plain_text", "content": notice.title},
        "template": "red" if notice.firing else "green",
    }
    text = {"tag": "plain_text", "content": notice.text(_MOST_BYTES, bold="")}
    card = {"header": head, "elements": [{"tag": "div", "text": text}]}
    moment = str(int(now))
    # Feishu's own way: the text is the key, and nothing is what is signed.
    signed = {"timestamp": moment, "sign": _hmac(f"{moment}\n{secret}", "")} if secret else {}
    return Letter(_json({**signed, "msg_type": "interactive", "card": card}))


def wecom(notice: Notice, _secret: str, _now: float) -> Letter:
    """Return the message for WeCom, whose address is its only secret."""
    head = f"**{notice.title}**\n"
    text = head + notice.text(_MOST_BYTES_WECOM - len(head.encode()))
    return Letter(_json({"msgtype": "markdown", "markdown": {"content": text}}))


def webhook(notice: Notice, _secret: str, _now: float) -> Letter:
    """Return what Alertmanager sent, as it came."""
    return Letter(notice.raw)


def _hmac(key: str, text: str) -> str:
    return b64encode(hmac.new(key.encode(), text.encode(), hashlib.sha256).digest()).decode()


def _json(body: Any) -> bytes:
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
