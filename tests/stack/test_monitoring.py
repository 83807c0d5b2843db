from pathlib import Path

import pytest

from safelight.errors import BadSetting
from safelight.rules.thresholds import Thresholds
from safelight.stack.monitoring import Monitoring, read

SLACK = '[receivers.phone]\nkind = "slack"\nurl_file = "url"\n'
ROUTED = SLACK + '[routes]\ncritical = ["phone"]\n'
EMAIL = '[receivers.mail]\nkind = "email"\nto = ["a@example.org"]\nsender = "b@example.org"\n'
STORE = '[[remote_write]]\nurl = "https://mimir.example/api/v1/push"\n'
MUTE = '[[mute]]\nname = "nights"\n'

# A file's content, and a part of the error line.
MISTAKES = [
    ("x = ", "Invalid value"),
    ("strange = 1", "strange: is an unknown key"),
    ('"a\\nb" = 1', "'a\\nb': is an unknown key"),
    ("receivers = 3", "receivers: "),
    ('language = "fr"', "language: Input should be 'en' or 'zh'"),
    ("[receivers]\nphone = 3", "receivers.phone: "),
    ('[receivers.phone]\nkind = "pager"', "receivers.phone: has an unknown kind; write slack"),
    ("[receivers.phone]", "receivers.phone: has no kind"),
    ('[receivers.phone]\nkind = "slack"', "receivers.phone.url_file: is missing"),
    ('[receivers.a]\nkind = "slack"\nurl = "https://hush"', "receivers.a.url: is an unknown key"),
    ('[receivers.a]\nkind = "slack"\nurl_file = "url"\nchannel = "a b"', "receivers.a.channel: "),
    ('[receivers.a]\nkind = "wecom"\nurl_file = "url"\nsecret_file = "url"', "secret_file: is an"),
    ('[receivers."a b"]\nkind = "wecom"\nurl_file = "url"', "'a b' is not a name"),
    ('[receivers.quiet]\nkind = "wecom"\nurl_file = "url"', "'quiet' is not a name"),
    ('[receivers."a/../b"]\nkind = "wecom"\nurl_file = "url"', "is not a name"),
    ('[receivers."编辑"]\nkind = "wecom"\nurl_file = "url"', "is not a name"),
    ('[receivers.a]\nkind = "webhook"', "receivers.a: needs either url or url_file"),
    ('[receivers.a]\nkind = "webhook"\nurl = "ftp://hush"', "receivers.a.url: is not an address"),
    (EMAIL + 'smarthost = "smtp"', "receivers.mail.smarthost: 'smtp' is not a mail server"),
    (EMAIL + 'smarthost = "s:0"', "receivers.mail.smarthost: 's:0' is not a mail server"),
    (EMAIL + 'smarthost = "s:65536"', "receivers.mail.smarthost: 's:65536' is not a mail server"),
    (EMAIL + 'smarthost = "s:٢٥"', "receivers.mail.smarthost: 's:٢٥' is not a mail server"),
    (EMAIL + 'smarthost = "s:25"\nusername = "u"', "receivers.mail: needs both username and"),
    (
        EMAIL.replace('"a@example.org"', '"nobody"'),
        "receivers.mail.to.0: 'nobody' is not a mailbox",
    ),
    (EMAIL.replace('"a@example.org"', ""), "receivers.mail.to: is empty"),
    ('[routes]\nwarning = ["nobody"]', "routes.warning: there is no receiver 'nobody'"),
    ('[routes]\nfatal = ["phone"]', "routes.fatal: is an unknown key"),
    (SLACK, "receivers.phone: is in no route"),
    (STORE.replace("https://", "ftp://"), "remote_write.0.url: is not an address"),
    (STORE.replace("mimir", "u:hush@mimir"), "remote_write.0.url: contains a password"),
    (STORE.replace("push", "push?hush"), "remote_write.0.url: has a query or fragment"),
    (STORE + 'username = "u"', "remote_write.0: needs both username and password_file"),
    (STORE + 'password_file = "p"', "remote_write.0: needs both username and password_file"),
    (STORE + 'username = "u"\npassword_file = "p"\ntoken_file = "t"', "either a password or a"),
    (STORE + 'password = "hush"', "remote_write.0.password: is an unknown key"),
    (MUTE, "mute.0: needs weekdays, times or both"),
    (MUTE + 'times = ["25:00-26:00"]', "mute.0.times.0: '25:00-26:00' is not a time"),
    (MUTE + 'times = ["at night"]', "mute.0.times.0: 'at night' is not a time"),
    (MUTE + 'times = ["22:00-07:00"]', "write 22:00-24:00 and 00:00-07:00"),
    (MUTE + 'weekdays = ["caturday"]', "mute.0.weekdays.0: "),
    (MUTE + 'weekdays = ["monday"]\nseverities = ["bad"]', "mute.0.severities.0: "),
    (MUTE + 'weekdays = ["monday"]\nzone = "Moon/Base"', "mute.0.zone: 'Moon/Base' is not a time"),
    (
        MUTE + 'weekdays = ["monday"]\n' + MUTE + 'weekdays = ["friday"]',
        "two mutes have the name 'nights'",
    ),
    ("[timing]\ngroup_interval_seconds = 0", "timing.group_interval_seconds: "),
    ("[timing]\ngroup_interval_seconds = 0.0001", "timing.group_interval_seconds: "),
    ("[timing]\nrepeat_seconds = 0.0001", "timing.repeat_seconds: "),
    ("[timing]\ncritical_repeat_seconds = 0.0001", "timing.critical_repeat_seconds: "),
    ("[timing]\ngroup_wait_seconds = nan", "timing.group_wait_seconds: "),
    ('relay_url = "relay"', "relay_url: is not an address"),
]


def refused(folder: Path, content: bytes) -> str:
    file = folder / "monitoring.toml"
    file.write_bytes(content)
    with pytest.raises(BadSetting) as raised:
        read(file)
    line = str(raised.value)
    assert "\n" not in line
    assert str(file) in line
    assert "hush" not in line
    return line


@pytest.mark.parametrize(("content", "message"), MISTAKES)
def test_a_mistake_is_one_line_that_names_the_file_and_the_key(
    content: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "url").write_text("https://example.org/hush")
    assert message in refused(tmp_path, content.encode())


def test_a_binary_file_is_reported_in_one_line(tmp_path: Path) -> None:
    assert "is wrong" in refused(tmp_path, b"\xff\xfe\x00")


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_a_missing_file_is_reported_in_one_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=r"cannot be read: (No such|Is a dir)"):
        read(tmp_path / name)


def test_one_line_lists_all_mistakes(tmp_path: Path) -> None:
    line = refused(tmp_path, b"a = 1\nb = 2\n")
    assert "a: is an unknown key; b: is an unknown key" in line


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"\xff\xfe", "cannot be read"),
        (b"hush words", "does not contain an address"),
        (b"https://a/b\nhttps://c/d", "does not contain an address"),
    ],
)
def test_a_missing_secret_is_named_and_not_shown(
    content: bytes | None, message: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "url").write_bytes(content)
    line = refused(tmp_path, ROUTED.encode())
    assert "receivers.phone.url_file: " in line
    assert message in line
    assert "hush" not in line


def test_a_missing_credential_of_a_store_is_named(tmp_path: Path) -> None:
    line = refused(tmp_path, (STORE + 'token_file = "token"').encode())
    assert f"remote_write.0.token_file: {tmp_path / 'token'} cannot be read" in line


def test_secret_files_can_be_on_another_machine(tmp_path: Path) -> None:
    (tmp_path / "monitoring.toml").write_text(ROUTED)
    monitoring = read(tmp_path / "monitoring.toml", secrets_here=False)
    assert list(monitoring.receivers) == ["phone"]


def test_paths_are_relative_to_the_monitoring_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "url").write_text("https://example.org/hush\n")
    (tmp_path / "monitoring.toml").write_text(ROUTED.replace("slack", "wecom"))
    monkeypatch.chdir(tmp_path)
    monitoring = read(Path("monitoring.toml"))
    assert monitoring.relayed["phone"].url_file == tmp_path / "url"


def test_without_a_file_there_is_no_receiver() -> None:
    assert read(None) == Monitoring()
    assert read(None).relayed == {}


def test_a_receiver_named_twice_in_a_route_is_notified_once() -> None:
    monitoring = Monitoring.model_validate(
        {
            "receivers": {"hook": {"kind": "webhook", "url": "http://127.0.0.1:1"}},
            "routes": {"critical": ["hook", "hook"]},
        }
    )
    assert monitoring.routes.of("critical") == ("hook",)


THRESHOLDS = """
runbooks_url = "https://wiki.example.org/runbooks"

[thresholds]
request_p95_seconds = 5.0

[services.zimage.thresholds]
request_p95_seconds = 1.5

[services.zimage.thresholds.alerts.RequestP95High]
for_seconds = 60
"""


def test_the_language_is_also_that_of_the_rules(tmp_path: Path) -> None:
    assert read(None).links().language == "en"
    (tmp_path / "monitoring.toml").write_text('language = "zh"')
    assert read(tmp_path / "monitoring.toml").links().language == "zh"


def test_a_services_own_limits_override_the_common_ones(tmp_path: Path) -> None:
    (tmp_path / "monitoring.toml").write_text(THRESHOLDS)
    limits = read(tmp_path / "monitoring.toml").limits("zimage", "recognition")
    assert limits["recognition"].request_p95_seconds == 5
    assert limits["zimage"].request_p95_seconds == 1.5
    assert limits["zimage"].alerts["RequestP95High"].for_seconds == 60
    assert not limits["recognition"].alerts


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[thresholds]\navailability_ratio = 1.0", "availability_ratio: Input should be less"),
        ("[thresholds]\nnobody = 1", "thresholds.nobody: is an unknown key"),
        ('[services."a b".thresholds]', "is not a namespace"),
        ("[services.zimage.thresholds]\ngpu_celsius = 70", "gpu_celsius applies to the machine"),
        ("[services.z.thresholds.alerts.HostCpuBusy]", "HostCpuBusy applies to the machine"),
        ("[thresholds.alerts.Nobody]\nenabled = false", "there is no alert 'Nobody'"),
        ("[thresholds.alerts.RequestP95]\nenabled = false", "did you mean RequestP95High?"),
        ("[thresholds.alerts.Watchdog]\nenabled = false", "see routes.watchdog"),
        (
            "[thresholds]\ngpu_memory_high_ratio = 0.96",
            "thresholds: gpu_memory_high_ratio (0.96) must be below gpu_memory_full_ratio (0.95)",
        ),
        (
            "[services.zimage.thresholds]\nrequest_p95_seconds = 16",
            "services.zimage.thresholds: request_p95_seconds (16) must be below http_p95_seconds",
        ),
        ("[thresholds.alerts.TargetDown]\nfor_seconds = -5", "TargetDown.for_seconds"),
    ],
)
def test_a_wrong_limit_is_reported_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "monitoring.toml").write_text(text)
    with pytest.raises(BadSetting) as raised:
        read(tmp_path / "monitoring.toml")
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_z3_z_image_has_a_stricter_latency_limit_by_default() -> None:
    assert Monitoring().limits("zimage")["zimage"].request_p95_seconds == 1.5
    assert Monitoring().limits("other")["other"].request_p95_seconds == 3
    changed = Monitoring(thresholds=Thresholds(request_p95_seconds=7.5))
    assert changed.limits("zimage")["zimage"].request_p95_seconds == 7.5
