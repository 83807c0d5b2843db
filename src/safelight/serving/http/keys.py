"""Who may call: API keys, of which only the hashes are known."""

import hashlib
import hmac
import re
import secrets

from safelight.errors import Unauthorized

_PREFIX = "sl-"


class Keys:
    """The keys that are known; without any, everybody may call."""

    def __init__(self, setting: str) -> None:
        pairs = (entry.partition("=") for entry in setting.split(",") if entry)
        self._hashes = {name: digest for name, _, digest in pairs}

    def __bool__(self) -> bool:
        return bool(self._hashes)

    def owner(self, authorization: str | None, address: str) -> str:
        """Return the name of the key shown, or the caller's address where no key is needed.

        Raises Unauthorized. Every hash is compared, in constant time: how long it takes tells
        nothing.
        """
        if not self._hashes:
            return address
        scheme, _, key = (authorization or "").partition(" ")
        shown = hashed(key.strip()) if scheme.lower() == "bearer" else ""
        found = [name for name, known in self._hashes.items() if hmac.compare_digest(known, shown)]
        if not (shown and found):
            raise Unauthorized
        return found[0]


def is_name(text: str) -> bool:
    """Tell whether a key can be called so."""
    return re.fullmatch(r"[\w.-]{1,64}", text) is not None


def new_key() -> str:
    """Return a new key: 32 random bytes, so that a plain hash of it is safe to keep."""
    return _PREFIX + secrets.token_urlsafe(32)


def hashed(key: str) -> str:
    """Return what the settings keep of a key: its SHA-256, as hexadecimal."""
    return hashlib.sha256(key.encode()).hexdigest()
