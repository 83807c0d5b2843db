from pathlib import Path

import pytest

from safelight.errors import BadSetting
from safelight.rules.thresholds import Thresholds
from safelight.stack.monitoring import Monitoring, read

SLACK = '[receivers.phone]\nkind = "slack"\nurl_file = "url"\n'
ROUTED = SLACK + '[routes]\ncritical = ["phone"]\n'
EMAIL = '[receivers.mail]\nkind = "email"\nto = ["a@example.org"]\nsender = "b@example.org"\n'
MUTE = '[[mute]]\nname = "nights"\n'

# What is written, and what the one line must say of it: the key first.
MISTAKES = [
    ("x = ", "Invalid value"),
    ("strange = 1", "strange: is not known here"),
    ('"a\\nb" = 1', "'a\\nb': is not known here"),
    ("receivers = 3", "receivers: "),
    ("[receivers]\nphone = 3", "receivers.phone: "),
    ('[receivers.phone]\nkind = "pager"', "receivers.phone: its kind is not known; write slack"),
    ("[receivers.phone]", "receivers.phone: has no kind"),
    ('[receivers.phone]\nkind = "slack"', "receivers.phone.url_file: is missing"),
    ('[receivers.a]\nkind = "slack"\nurl = "https://hush"', "receivers.a.url: is not known here"),
    ('[receivers.a]\nkind = "slack"\nurl_file = "url"\nchannel = "a b"', "receivers.a.channel: "),
    ('[receivers.a]\nkind = "wecom"\nurl_file = "url"\nsecret_file = "url"', "secret_file: is not"),
    ('[receivers."a b"]\nkind = "wecom"\nurl_file = "url"', "'a b' is no name"),
    ('[receivers.quiet]\nkind = "wecom"\nurl_file = "url"', "'quiet' is no name"),
    ('[receivers."a/../b"]\nkind = "wecom"\nurl_file = "url"', "is no name"),
    ('[receivers."编辑"]\nkind = "wecom"\nurl_file = "url"', "is no name"),
    ('[receivers.a]\nkind = "webhook"', "receivers.a: needs either url or url_file"),
    ('[receivers.a]\nkind = "webhook"\nurl = "ftp://hush"', "receivers.a.url: is no address"),
    (EMAIL + 'smarthost = "smtp"', "receivers.mail.smarthost: 'smtp' is no mail server"),
    (EMAIL + 'smarthost = "s:0"', "receivers.mail.smarthost: 's:0' is no mail server"),
    (EMAIL + 'smarthost = "s:65536"', "receivers.mail.smarthost: 's:65536' is no mail server"),
    (EMAIL + 'smarthost = "s:٢٥"', "receivers.mail.smarthost: 's:٢٥' is no mail server"),
    (EMAIL + 'smarthost = "s:25"\nusername = "u"', "receivers.mail: needs both username and"),
    (EMAIL.replace('"a@example.org"', '"nobody"'), "receivers.mail.to.0: 'nobody' is no mailbox"),
    (EMAIL.replace('"a@example.org"', ""), "receivers.mail.to: is empty"),
    ('[routes]\nwarning = ["nobody"]', "routes.warning: there is no receiver 'nobody'"),
    ('[routes]\nfatal = ["phone"]', "routes.fatal: is not known here"),
    (SLACK, "receivers.phone: is in no route"),
    (MUTE, "mute.0: needs weekdays, times or both"),
    (MUTE + 'times = ["25:00-26:00"]', "mute.0.times.0: '25:00-26:00' is no time"),
    (MUTE + 'times = ["at night"]', "mute.0.times.0: 'at night' is no time"),
    (MUTE + 'times = ["22:00-07:00"]', "write 22:00-24:00 and 00:00-07:00"),
    (MUTE + 'weekdays = ["caturday"]', "mute.0.weekdays.0: "),
    (MUTE + 'weekdays = ["monday"]\nseverities = ["bad"]', "mute.0.severities.0: "),
    (MUTE + 'weekdays = ["monday"]\nzone = "Moon/Base"', "mute.0.zone: 'Moon/Base' is no time"),
    (MUTE + 'weekdays = ["monday"]\n' + MUTE + 'weekdays = ["friday"]', "'nights' is given twice"),
    ("[timing]\ngroup_interval_seconds = 0", "timing.group_interval_seconds: "),
    ("[timing]\ngroup_interval_seconds = 0.0001", "timing.group_interval_seconds: "),
    ("[timing]\nrepeat_seconds = 0.0001", "timing.repeat_seconds: "),
    ("[timing]\ncritical_repeat_seconds = 0.0001", "timing.critical_repeat_seconds: "),
    ("[timing]\ngroup_wait_seconds = nan", "timing.group_wait_seconds: "),
    ('relay_url = "relay"', "relay_url: is no address"),
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


@pytest.mark.parametrize(("content", "said"), MISTAKES)
def test_a_mistake_is_one_line_that_names_the_file_and_the_key(
    content: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "url").write_text("https://example.org/hush")
    assert said in refused(tmp_path, content.encode())


def test_a_file_that_is_no_text_is_one_line(tmp_path: Path) -> None:
    assert "is wrong" in refused(tmp_path, b"\xff\xfe\x00")


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_a_missing_file_is_one_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=r"cannot be read: (No such|Is a dir)"):
        read(tmp_path / name)


def test_several_mistakes_are_all_in_the_line(tmp_path: Path) -> None:
    line = refused(tmp_path, b"a = 1\nb = 2\n")
    assert "a: is not known here; b: is not known here" in line


@pytest.mark.parametrize(
    ("held", "said"),
    [
        (None, "is no file that can be read"),
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"\xff\xfe", "is no file that can be read"),
        (b"hush words", "holds is no address"),
        (b"https://a/b\nhttps://c/d", "holds is no address"),
    ],
)
def test_a_secret_that_is_not_there_is_named_and_not_shown(
    held: bytes | None, said: str, tmp_path: Path
) -> None:
    if held is not None:
        (tmp_path / "url").write_bytes(held)
    line = refused(tmp_path, ROUTED.encode())
    assert "receivers.phone.url_file: " in line
    assert said in line
    assert "hush" not in line


def test_secrets_may_be_elsewhere_for_what_runs_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "monitoring.toml").write_text(ROUTED)
    made = read(tmp_path / "monitoring.toml", secrets_here=False)
    assert list(made.receivers) == ["phone"]


def test_paths_are_seen_from_the_files_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "url").write_text("https://example.org/hush\n")
    (tmp_path / "monitoring.toml").write_text(ROUTED.replace("slack", "wecom"))
    monkeypatch.chdir(tmp_path)
    made = read(Path("monitoring.toml"))
    assert made.relayed["phone"].url_file == tmp_path / "url"


def test_without_a_file_nobody_is_told() -> None:
    assert read(None) == Monitoring()
    assert read(None).relayed == {}


def test_a_receiver_named_twice_in_a_route_is_told_once() -> None:
    made = Monitoring.model_validate(
        {
            "receivers": {"hook": {"kind": "webhook", "url": "http://127.0.0.1:1"}},
            "routes": {"critical": ["hook", "hook"]},
        }
    )
    assert made.routes.of("critical") == ("hook",)


THRESHOLDS = """
runbooks_url = "https://wiki.example.org/runbooks"

[thresholds]
request_p95_seconds = 5.0

[services.zimage.thresholds]
request_p95_seconds = 1.5

[services.zimage.thresholds.alerts.RequestP95High]
for_seconds = 60
"""


def test_a_service_has_the_limits_of_all_but_for_its_own(tmp_path: Path) -> None:
    (tmp_path / "monitoring.toml").write_text(THRESHOLDS)
    limits = read(tmp_path / "monitoring.toml").limits("zimage", "recognition")
    assert limits["recognition"].request_p95_seconds == 5
    assert limits["zimage"].request_p95_seconds == 1.5
    assert limits["zimage"].alerts["RequestP95High"].for_seconds == 60
    assert not limits["recognition"].alerts


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[thresholds]\navailability_ratio = 1.0", "availability_ratio: Input should be less"),
        ("[thresholds]\nnobody = 1", "thresholds.nobody: is not known here"),
        ('[services."a b".thresholds]', "is not a namespace"),
        ("[services.zimage.thresholds]\ngpu_celsius = 70", "gpu_celsius is the machine's"),
        ("[services.z.thresholds.alerts.HostCpuBusy]", "HostCpuBusy is the machine's"),
        ("[thresholds.alerts.Nobody]\nenabled = false", "there is no alert 'Nobody'"),
        ("[thresholds.alerts.TargetDown]\nfor_seconds = -5", "TargetDown.for_seconds"),
    ],
)
def test_a_wrong_limit_is_one_line(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "monitoring.toml").write_text(text)
    with pytest.raises(BadSetting) as wrong:
        read(tmp_path / "monitoring.toml")
    assert told in str(wrong.value)
    assert "\n" not in str(wrong.value)


def test_z3_z_image_is_to_take_a_moment_unless_somebody_says_otherwise() -> None:
    assert Monitoring().limits("zimage")["zimage"].request_p95_seconds == 1.5
    assert Monitoring().limits("other")["other"].request_p95_seconds == 3
    told = Monitoring(thresholds=Thresholds(request_p95_seconds=7.5))
    assert told.limits("zimage")["zimage"].request_p95_seconds == 7.5
