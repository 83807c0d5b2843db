"""TLS with real handshakes: which certificate callers get, at the start and after a renewal."""

import asyncio
import os
import signal
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs

from safelight.errors import BadSetting
from safelight.serving.http.keys import hashed
from safelight.settings import load
from safelight.tls import Certificate, renewing
from tests.certificates import Pair, expired, pair, with_password
from tests.cli.running import Command, started
from tests.reading import FakeClock
from tests.serving.jobs import PICTURE
from tests.serving.running import PAINTER
from tests.serving.running import eventually as comes_true
from tests.stack.waiting import eventually, free_ports


@pytest.fixture
def one(tmp_path: Path) -> Pair:
    return pair(tmp_path, "one")


def certificate(made: Pair) -> Certificate:
    found = Certificate.of(load(tls_certificate=made.certificate, tls_key=made.key))
    assert found is not None
    return found


def presented(server: Certificate, name: str | None = "localhost") -> bytes:
    """Return the certificate that a new connection gets, with or without a server name."""
    caller = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    caller.check_hostname, caller.verify_mode = False, ssl.CERT_NONE
    inward, outward = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        caller.wrap_bio(outward, inward, server_hostname=name),
        server._context.wrap_bio(inward, outward, server_side=True),
    )
    for end in ends * 4:
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return ends[0].getpeercert(binary_form=True) or b""


def content(made: Pair) -> bytes:
    return ssl.PEM_cert_to_DER_cert(made.certificate.read_text())


EXPIRED = "certificate has expired"


def copy(source: Pair, target: Pair) -> None:
    target.certificate.write_bytes(source.certificate.read_bytes())
    target.key.write_bytes(source.key.read_bytes())


# ── At the start ─────────────────────────────────────────────────────────────────────────────────


def test_without_both_settings_there_is_no_tls() -> None:
    assert Certificate.of(load()) is None


@pytest.mark.parametrize(
    ("given", "missing"), [("tls_certificate", "TLS_KEY"), ("tls_key", "TLS_CERTIFICATE")]
)
def test_one_setting_alone_is_refused(given: str, missing: str, one: Pair) -> None:
    with pytest.raises(BadSetting, match=f"without SAFELIGHT_{missing}. TLS needs both"):
        Certificate.of(load(**{given: one.certificate}))


@pytest.mark.parametrize("wrong", ["tls_certificate", "tls_key"])
@pytest.mark.parametrize("kind", ["missing", "folder"])
def test_a_file_that_cannot_be_read_is_named(
    wrong: str, kind: str, one: Pair, tmp_path: Path
) -> None:
    bad = tmp_path if kind == "folder" else tmp_path / "absent.pem"
    chosen = {"tls_certificate": one.certificate, "tls_key": one.key, wrong: bad}
    with pytest.raises(BadSetting) as caught:
        Certificate.of(load(**chosen))
    assert f"SAFELIGHT_{wrong.upper()} names {bad}, which cannot be read" in str(caught.value)


def test_a_key_of_another_user_is_named(one: Pair) -> None:
    one.key.chmod(0)
    with without_root(), pytest.raises(BadSetting, match="cannot be read: Permission denied"):
        certificate(one)


@contextmanager
def without_root() -> Iterator[None]:
    """Give up the rights of root until the block ends: root can read every file."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


def test_a_key_of_another_certificate_is_refused(one: Pair, tmp_path: Path) -> None:
    two = pair(tmp_path, "two")
    with pytest.raises(BadSetting, match=r"two.key does not belong to the certificate .*one.crt"):
        certificate(Pair(one.certificate, two.key))


@pytest.mark.parametrize("text", ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_files_that_are_not_pem_are_refused(text: str, one: Pair) -> None:
    one.certificate.write_text(text)
    with pytest.raises(BadSetting, match=r"cannot be used \(.+\)\. Give one certificate chain"):
        certificate(one)


@pytest.mark.parametrize("which", ["certificate", "key"])
@pytest.mark.parametrize("lost", ["end", "middle"])
def test_a_damaged_file_is_named_in_words(which: str, lost: str, one: Pair) -> None:
    file = getattr(one, which)
    text = file.read_text()
    half = len(text) // 2
    file.write_text(text[:half] if lost == "end" else text[:half] + "=" + text[half + 1 :])
    with pytest.raises(BadSetting) as caught:
        certificate(one)
    fault = "is cut off: it has 1 BEGIN and 0 END lines" if lost == "end" else "is damaged"
    assert f"({file.name} {fault}" in str(caught.value)
    assert "_ssl.c" not in str(caught.value)


def test_a_certificate_that_expires_while_it_is_in_use_is_a_warning_a_day(tmp_path: Path) -> None:
    end = datetime.now(UTC) + timedelta(seconds=2)
    made, clock = expired(tmp_path, f"{end:%Y%m%d%H%M%SZ}"), FakeClock()
    with capture_logs() as lines:
        server = Certificate(made.certificate, made.key, clock=clock)
        assert lines == []

        def warned() -> bool:
            server.renew()
            return bool(lines)

        eventually(warned, within=10, what="the certificate has expired")
        server.renew()
        assert [line["log_level"] for line in lines] == ["warning"]
        assert lines[0]["error.message"] == EXPIRED
        clock.now += 86_401
        server.renew()
        server.renew()
        assert len(lines) == 2


def test_swapped_files_are_refused(one: Pair) -> None:
    with pytest.raises(BadSetting, match="cannot be used"):
        certificate(Pair(one.key, one.certificate))


def test_a_key_with_a_password_is_refused_and_nobody_is_asked(one: Pair) -> None:
    with pytest.raises(BadSetting, match=r"has a password\. Give a key without one"):
        certificate(with_password(one))


def test_an_expired_certificate_is_a_warning(tmp_path: Path) -> None:
    with capture_logs() as lines:
        certificate(expired(tmp_path))
    [line] = lines
    assert line["log_level"] == "warning"
    assert (line["file.path"], line["error.message"]) == (str(tmp_path / "expired.crt"), EXPIRED)


def test_a_valid_certificate_is_no_warning(one: Pair) -> None:
    with capture_logs() as lines:
        certificate(one)
    assert lines == []


@pytest.mark.parametrize(
    ("version", "accepted"), [(ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True)]
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_tls_below_1_2_is_refused(version: ssl.TLSVersion, accepted: bool, one: Pair) -> None:
    server = certificate(one)
    caller = one.known()
    caller.maximum_version = caller.minimum_version = version
    caller.set_ciphers("ALL:@SECLEVEL=0")
    server._context.set_ciphers("ALL:@SECLEVEL=0")  # so that only the version decides
    inward, outward = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = caller.wrap_bio(outward, inward, server_hostname="localhost")
    other = server._context.wrap_bio(inward, outward, server_side=True)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    with pytest.raises(ssl.SSLWantReadError if accepted else ssl.SSLError) as caught:
        other.do_handshake()
    assert isinstance(caught.value, ssl.SSLWantReadError) == accepted


# ── Renewal ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["localhost", None])
def test_new_connections_get_the_renewed_certificate(
    name: str | None, one: Pair, tmp_path: Path
) -> None:
    server, old = certificate(one), content(one)
    assert presented(server, name) == old
    copy(pair(tmp_path, "two"), one)
    assert presented(server, name) == old
    with capture_logs() as lines:
        server.renew()
        server.renew()
    assert presented(server, name) == content(one) != old
    assert [line["event"] for line in lines] == ["TLS certificate renewed"]


def test_a_swapped_link_of_a_mounted_secret_is_a_renewal(tmp_path: Path) -> None:
    for folder in ("..first", "..second"):
        made = pair(tmp_path / folder)
        os.utime(made.certificate, (0, 0))  # the same time, as a volume may have
        os.utime(made.key, (0, 0))
    data = tmp_path / "..data"
    data.symlink_to("..first")
    (tmp_path / "tls.crt").symlink_to("..data/server.crt")
    (tmp_path / "tls.key").symlink_to("..data/server.key")
    server = certificate(Pair(tmp_path / "tls.crt", tmp_path / "tls.key"))
    (tmp_path / "..new").symlink_to("..second")
    (tmp_path / "..new").replace(data)
    server.renew()
    second = Pair(tmp_path / "..second/server.crt", tmp_path / "..second/server.key")
    assert presented(server) == content(second)


def test_a_half_written_pair_keeps_the_old_one_with_one_warning(one: Pair, tmp_path: Path) -> None:
    server, old, two = certificate(one), content(one), pair(tmp_path, "two")
    with capture_logs() as lines:
        one.certificate.write_bytes(two.certificate.read_bytes())
        for _ in range(3):
            server.renew()
        assert presented(server) == old
        one.key.unlink()
        server.renew()
        assert presented(server) == old
    [line] = lines
    assert line["log_level"] == "warning"
    assert line["error.message"].startswith("The key")
    one.key.write_bytes(two.key.read_bytes())
    server.renew()
    assert presented(server) == content(two)


def test_a_second_broken_renewal_warns_again(one: Pair) -> None:
    server, old = certificate(one), one.certificate.read_bytes()
    with capture_logs() as lines:
        for text in (b"broken", old, b"broken"):
            one.certificate.write_bytes(text)
            server.renew()
    assert [line["log_level"] for line in lines] == ["warning", "warning"]


def test_the_files_are_checked_while_the_server_runs(one: Pair, tmp_path: Path) -> None:
    async def scenario() -> None:
        server = certificate(one)
        async with renewing(server, check_seconds=0.01):
            copy(pair(tmp_path, "two"), one)
            await comes_true(lambda: presented(server) == content(one), 10)
        await comes_true(lambda: "safelight-tls" not in {t.get_name() for t in asyncio.all_tasks()})

    asyncio.run(scenario())


# ── The servers ──────────────────────────────────────────────────────────────────────────────────


def options(made: Pair) -> tuple[str, ...]:
    return ("--tls-certificate", str(made.certificate), "--tls-key", str(made.key))


def test_the_api_answers_over_https_and_its_image_urls_are_https(one: Pair, tmp_path: Path) -> None:
    port = free_ports(1)[0]
    arguments = ("serve", PAINTER, "--port", str(port), "--log-format", "json", *options(one))
    with started(tmp_path / "log", *arguments) as command:
        command.wait_for_output(f"https://127.0.0.1:{port}")
        with httpx.Client(base_url=f"https://localhost:{port}", verify=one.known()) as client:
            eventually(lambda: answers(client, "/readyz"), within=60, what="the model is loaded")
            answer = client.post(
                "/v1/images/edits",
                files={"image": PICTURE},
                data={"prompt": "make him old", "steps": "1", "response_format": "url"},
                timeout=60,
            )
            url = answer.json()["data"][0]["url"]
            assert url.startswith(f"https://localhost:{port}/v1/images/")
            assert client.get(url).headers["content-type"] == "image/png"
            copy(pair(tmp_path, "two"), one)

            def renewed() -> bool:
                # This client knows only the old certificate: its connection stays open.
                assert client.get("/healthz").is_success
                return at(port) == content(one)

            eventually(renewed, within=30, what="the certificate is renewed")
            assert client.get("/healthz").is_success
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://localhost:{port}/healthz")
        assert command.send(signal.SIGTERM) == 0
    assert "Traceback" not in command.err


def test_the_console_answers_over_https_and_its_cookie_never_leaves_it(
    one: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAFELIGHT_API_KEYS", f"anna:view={hashed('sl-key')}")
    port = free_ports(1)[0]
    with started(tmp_path / "log", "console", "--port", str(port), *options(one)) as command:
        command.wait_for_output(f"https://127.0.0.1:{port}")
        with httpx.Client(base_url=f"https://localhost:{port}", verify=one.known()) as client:
            eventually(lambda: answers(client, "/healthz"), within=60, what="the console answers")
            shown = client.post("/data/session", content="sl-key")
            assert "secure" in shown.headers["set-cookie"].lower()
            copy(pair(tmp_path, "two"), one)
            eventually(lambda: at(port) == content(one), within=30, what="it is renewed")
        command.send(signal.SIGTERM)
    assert "Traceback" not in command.err


def answers(client: httpx.Client, path: str) -> bool:
    try:
        return client.get(path).is_success
    except httpx.HTTPError:
        return False


def at(port: int) -> bytes:
    """Return the certificate that a server at this port presents now."""
    caller = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    caller.check_hostname, caller.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), 10) as plain,
        caller.wrap_socket(plain) as connection,
    ):
        return connection.getpeercert(binary_form=True) or b""


def test_the_relay_answers_over_https(one: Pair, tmp_path: Path) -> None:
    (tmp_path / "url").write_text("https://example.org/hook")
    file = tmp_path / "monitoring.toml"
    file.write_text('[receivers.a]\nkind = "wecom"\nurl_file = "url"\n[routes]\ninfo = ["a"]\n')
    port = free_ports(1)[0]
    arguments = ("alert-relay", "--monitoring", str(file), "--port", str(port), *options(one))
    with (
        started(tmp_path / "log", *arguments) as command,
        httpx.Client(base_url=f"https://localhost:{port}", verify=one.known()) as client,
    ):
        eventually(lambda: answers(client, "/healthz"), within=30, what="the relay answers")
        assert client.post("/a", json={}).status_code == 400
        assert command.send(signal.SIGTERM) == 0


@pytest.mark.parametrize("name", ["serve", "alert-relay"])
def test_a_wrong_pair_is_one_line_before_anything_starts(
    name: str, one: Pair, tmp_path: Path
) -> None:
    (tmp_path / "url").write_text("https://example.org/hook")
    file = tmp_path / "monitoring.toml"
    file.write_text('[receivers.a]\nkind = "wecom"\nurl_file = "url"\n[routes]\ninfo = ["a"]\n')
    wrong = Pair(one.certificate, pair(tmp_path, "two").key)
    more = ("--monitoring", str(file)) if name == "alert-relay" else ("no-such/model",)
    with started(tmp_path / "log", name, *more, *options(wrong)) as command:
        assert command.process.wait(60) == 2
    assert_one_line(command, "does not belong to the certificate")


def assert_one_line(command: Command, text: str) -> None:
    [line] = command.err.splitlines()
    assert line.startswith("safelight: ")
    assert text in line
