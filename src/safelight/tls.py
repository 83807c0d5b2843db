"""TLS for Safelight's servers: load a certificate and its key, and use them when they are renewed.

It only reads the files: it makes no certificate, and asks callers for none.
"""

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import NoReturn, Self

import structlog
import uvicorn

from safelight.errors import BadSetting
from safelight.settings import Settings, environment_name

CHECK_SECONDS = 10.0
_CERTIFICATE, _KEY = environment_name("tls_certificate"), environment_name("tls_key")
_MISMATCH = "KEY_VALUES_MISMATCH"
_DAY_SECONDS = 86_400.0
_MESSAGES = 4  # more than a handshake needs from each side
log = structlog.get_logger("safelight")


class Certificate:
    """A certificate and its key in PEM files. Connections use the pair that fits last."""

    def __init__(
        self, certificate: Path, key: Path, *, clock: Callable[[], float] = monotonic
    ) -> None:
        """Load the pair. Raises BadSetting."""
        self._files = certificate, key
        self._used = self._digest()  # before the pair is loaded, so that no later change is missed
        self._current = self._context = _load(certificate, key)
        self._has_warned = False
        self._clock, self._quiet_until = clock, clock()
        self._context.sni_callback = self._choose
        self._warn_if_refused()

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """Return the certificate of the settings, or None without one. Raises BadSetting."""
        certificate, key = settings.tls_certificate, settings.tls_key
        if certificate is None and key is None:
            return None
        if certificate is None or key is None:
            given, missing = (_CERTIFICATE, _KEY) if key is None else (_KEY, _CERTIFICATE)
            raise BadSetting(f"{given} is set without {missing}. TLS needs both; set both or none.")
        return cls(certificate, key)

    def secure(self, config: uvicorn.Config) -> None:
        """Let a server use TLS."""
        config.load()
        config.ssl = self._context

    def renew(self) -> None:
        """Use the files for new connections if their content has changed.

        If the new files do not fit each other, keep the old pair, and log one warning. Once a day,
        log a warning if the pair in use has expired.
        """
        found = self._digest()
        if found == self._used:
            self._has_warned = False
            self._warn_if_refused()
            return
        try:
            self._current = _load(*self._files)
        except BadSetting as error:
            if not self._has_warned:
                log.warning(
                    "TLS certificate not renewed; the old one stays in use",
                    **{"error.message": str(error)},
                )
            self._has_warned = True
        else:
            self._used, self._has_warned = found, False
            log.info("TLS certificate renewed", **{"file.path": str(self._files[0])})
            self._quiet_until = self._clock()
            self._warn_if_refused()

    def _warn_if_refused(self) -> None:
        """Warn, at most once a day, if callers refuse the certificate in use."""
        if self._clock() < self._quiet_until:
            return
        file = self._files[0]
        if complaint := _complaint(self._current, file):
            fields = {"file.path": str(file), "error.message": complaint}
            log.warning("callers will refuse the TLS certificate", **fields)
            self._quiet_until = self._clock() + _DAY_SECONDS

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _: ssl.SSLContext) -> None:
        """Give a new connection the current pair as a whole, never a half-renewed one."""
        connection.context = self._current

    def _digest(self) -> bytes:
        """Return a hash of both files' content; links and their targets may change in any way."""
        digest = hashlib.sha256()
        for file in self._files:
            with suppress(OSError):
                digest.update(hashlib.sha256(file.read_bytes()).digest())
        return digest.digest()


@asynccontextmanager
async def renewing(
    certificate: Certificate | None, *, check_seconds: float = CHECK_SECONDS
) -> AsyncIterator[None]:
    """Check every few seconds whether a certificate was renewed, until the block ends."""
    if certificate is None:
        yield
        return
    checking = asyncio.create_task(_check(certificate, check_seconds), name="safelight-tls")
    try:
        yield
    finally:
        checking.cancel()


async def _check(certificate: Certificate, check_seconds: float) -> None:
    while True:
        await asyncio.sleep(check_seconds)
        await asyncio.to_thread(certificate.renew)  # the files may be on a slow disk


def _load(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return a context with this pair. Raises BadSetting."""
    for name, file in ((_CERTIFICATE, certificate), (_KEY, key)):
        try:
            file.read_bytes()
        except OSError as error:
            raise BadSetting(
                f"{name} names {file}, which cannot be read: {error.strerror}. "
                "Give a PEM file that this user can read."
            ) from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key, password=_refuse_password)
    except (ssl.SSLError, ValueError) as error:
        raise _misfit(certificate, key, getattr(error, "reason", None)) from None
    return context


def _refuse_password() -> NoReturn:
    raise BadSetting(f"The key that {_KEY} names has a password. Give a key without one.")


def _misfit(certificate: Path, key: Path, reason: str | None) -> BadSetting:
    if reason == _MISMATCH:
        return BadSetting(
            f"The key {key} does not belong to the certificate {certificate}. "
            f"Set {_CERTIFICATE} and {_KEY} to files of one pair, the server's certificate first."
        )
    return BadSetting(
        f"The certificate {certificate} and the key {key} cannot be used "
        f"({_fault(certificate, key)}). "
        "Give one certificate chain and its private key, both as PEM."
    )


def _fault(certificate: Path, key: Path) -> str:
    """Return in words what is wrong with the files; OpenSSL often only says `PEM lib`."""
    for file, part in ((certificate, b"CERTIFICATE-----"), (key, b"PRIVATE KEY-----")):
        with suppress(OSError):
            content = file.read_bytes()
            begins, ends = content.count(b"-----BEGIN "), content.count(b"-----END ")
            if not begins:
                return f"{file.name} contains no PEM text"
            if begins != ends:
                return f"{file.name} is cut off: it has {begins} BEGIN and {ends} END lines"
            if part not in content:
                return f"{file.name} contains no {part.decode().strip('-').lower()}"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(certificate)
    except (OSError, ValueError):
        return f"{certificate.name} is damaged"
    return f"{key.name} is damaged, or a part of the chain"


def _complaint(context: ssl.SSLContext, certificate: Path) -> str:
    """Return why a caller who knows the certificate refuses it, such as that it has expired.

    Python has no function that reads a certificate's dates. A caller in memory checks them.
    """
    caller = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    caller.check_hostname = False
    caller.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    inward, outward = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        caller.load_verify_locations(certificate)
        ends = (
            caller.wrap_bio(outward, inward),
            context.wrap_bio(inward, outward, server_side=True),
        )
        for end in ends * _MESSAGES:
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    except ssl.SSLError:  # not about the certificate
        return ""
    return ""
