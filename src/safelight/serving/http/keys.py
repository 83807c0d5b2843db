"""Make and check API keys; only their hashes are stored."""

import hashlib
import hmac
import re
import secrets

from safelight.errors import Unauthorized

_PREFIX = "sl-"


class Keys:
    """The valid keys. Without keys, every caller is accepted."""

    def __init__(self, setting: str) -> None:
        pairs = (entry.partition("=") for entry in setting.split(",") if entry)
        self._hashes = {name: digest for name, _, digest in pairs}

    def __bool__(self) -> bool:
        return bool(self._hashes)

    def owner(self, authorization: str | None, address: str) -> str:
        """Return the name of the caller's key, or the caller's address if no keys are set.

        Raises Unauthorized. Every hash is compared in constant time, so that the time reveals
        nothing.
        """
        if not self._hashes:
            return address
        scheme, _, key = (authorization or "").partition(" ")
        digest = hashed(key.strip()) if scheme.lower() == "bearer" else ""
        names = [name for name, own in self._hashes.items() if hmac.compare_digest(own, digest)]
        if not (digest and names):
            raise Unauthorized
        return names[0]


def is_name(text: str) -> bool:
    """Return whether the text is a valid name for a key."""
    return re.fullmatch(r"[\w.-]{1,64}", text) is not None


def new_key() -> str:
    """Return a new key of 32 random bytes; a plain hash of so much randomness is safe to store."""
    return _PREFIX + secrets.token_urlsafe(32)


def hashed(key: str) -> str:
    """Return the SHA-256 of a key as hexadecimal digits."""
    return hashlib.sha256(key.encode()).hexdigest()
