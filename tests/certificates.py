"""Self-signed certificates for tests, made by the program `openssl`."""

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

_CA = """[ca]
default_ca = own
[own]
database = {folder}/index
new_certs_dir = {folder}
serial = {folder}/serial
default_md = sha256
policy = any
[any]
commonName = supplied
"""


@dataclass(frozen=True)
class Pair:
    """A certificate and its key."""

    certificate: Path
    key: Path

    def known(self) -> ssl.SSLContext:
        """Return the settings of a caller that knows this certificate and no other."""
        return ssl.create_default_context(cafile=str(self.certificate))


def pair(folder: Path, name: str = "server") -> Pair:
    """Make a certificate for localhost, 127.0.0.1 and 127.0.0.2; `name` is its common name."""
    folder.mkdir(exist_ok=True)
    made = Pair(folder / f"{name}.crt", folder / f"{name}.key")
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:127.0.0.2"
    _openssl(
        *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-keyout", str(made.key), "-out", str(made.certificate), "-days", "2"),
        *("-subj", f"/CN={name}", "-addext", names),
    )
    return made


def expired(folder: Path, end: str = "20200201000000Z") -> Pair:
    """Make a certificate that is valid from January 2020 to `end`, by default a month."""
    made, asked = pair(folder, "expired"), folder / "asked"
    (folder / "ca.cnf").write_text(_CA.format(folder=folder))
    (folder / "index").write_text("")
    (folder / "serial").write_text("01\n")
    key = str(made.key)
    _openssl("req", "-new", "-key", key, "-subj", "/CN=expired", "-out", str(asked))
    _openssl(
        *("ca", "-selfsign", "-batch", "-notext", "-config", str(folder / "ca.cnf")),
        *("-in", str(asked), "-keyfile", key, "-out", str(made.certificate)),
        *("-startdate", "20200101000000Z", "-enddate", end),
    )
    return made


def with_password(made: Pair) -> Pair:
    """Encrypt the key of a pair."""
    locked = made.key.with_suffix(".locked")
    _openssl(
        *("pkey", "-in", str(made.key), "-out", str(locked)), *("-aes256", "-passout", "pass:hush")
    )
    return Pair(made.certificate, locked)


def _openssl(*arguments: str) -> None:
    done = subprocess.run(("openssl", *arguments), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
