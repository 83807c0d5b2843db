"""Make and check API keys; only their hashes are stored."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from safelight.errors import Unauthorized
from safelight.settings import KEY, SCOPES

_PREFIX = "sl-"
_ENTRY = re.compile(KEY)


@dataclass(frozen=True, slots=True)
class Key:
    """A key: the name of its caller, its hash, and what it may do."""

    name: str
    digest: str
    scopes: frozenset[str] = frozenset(SCOPES)


class Keys:
    """The valid keys. Several keys with one name belong to one caller."""

    def __init__(self, valid: Callable[[], tuple[Key, ...]]) -> None:
        self._valid = valid

    def find(self, authorization: str | None) -> Key:
        """Return the key that a caller shows.

        Raises Unauthorized. Every hash is compared in constant time, so that the time reveals
        nothing.
        """
        scheme, _, key = (authorization or "").partition(" ")
        digest = hashed(key.strip()) if scheme.lower() == "bearer" else ""
        found = [own for own in self._valid() if hmac.compare_digest(own.digest, digest)]
        if not (digest and found):
            raise Unauthorized
        return found[0]


def read(text: str) -> tuple[Key, ...]:
    """Return the keys in a setting or file: entries with commas or line ends between them.

    Lines that begin with # are comments. Raises ValueError, which does not show the entry: it may
    be a key.
    """
    return tuple(_entries(text))


def _entries(text: str) -> Iterator[Key]:
    for number, line in enumerate(text.splitlines(), 1):
        for entry in "" if line.lstrip().startswith("#") else line.split(","):
            if not (written := entry.strip()):
                continue
            if not _ENTRY.fullmatch(written):
                raise ValueError(f"line {number} is not NAME[:SCOPE+SCOPE]=HASH")
            label, _, digest = written.partition("=")
            name, _, scopes = label.partition(":")
            yield Key(name, digest, frozenset(scopes.split("+") if scopes else SCOPES))


def is_name(text: str) -> bool:
    """Return whether the text is a valid name for a key."""
    return re.fullmatch(r"[\w.-]{1,64}", text) is not None


def new_key() -> str:
    """Return a new key of 32 random bytes; a plain hash of so much randomness is safe to store."""
    return _PREFIX + secrets.token_urlsafe(32)


def hashed(key: str) -> str:
    """Return the SHA-256 of a key as hexadecimal digits."""
    return hashlib.sha256(key.encode()).hexdigest()
