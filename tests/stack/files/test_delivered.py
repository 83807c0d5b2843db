from pathlib import Path

from safelight.stack.files.delivered import delivered
from safelight.stack.monitoring import Monitoring, read
from tests.stack.files.monitored import EVERY_KIND

SECRETS = {
    "slack_url": "receivers.slack.url_file",
    "mail_password": "receivers.mail.password_file",
    "ding_url": "receivers.ding.url_file",
    "ding_secret": "receivers.ding.secret_file",
    "wecom_url": "receivers.wecom.url_file",
    "hook_url": "receivers.hook.url_file",
}
OF_STORES = {
    "store.0_password": "remote_write.0.password_file",
    "store.1_token": "remote_write.1.token_file",
}


def monitoring(folder: Path) -> Monitoring:
    file = folder / "monitoring.toml"
    file.write_text(EVERY_KIND)
    return read(file, secrets_here=False)


def test_each_secret_says_which_key_of_the_monitoring_file_it_holds(tmp_path: Path) -> None:
    result = delivered(monitoring(tmp_path))
    assert dict(result.secrets) == SECRETS | OF_STORES
    assert set(result.store_secrets) == OF_STORES.keys()
    assert {*result.own_secrets, *result.relay_secrets} == {*SECRETS, "relay_token"}
    assert {"relay_token"} == set(result.own_secrets) & set(result.relay_secrets)


def test_the_relay_reads_its_own_file_and_finds_its_receivers_there(tmp_path: Path) -> None:
    before = monitoring(tmp_path)
    file = tmp_path / "relay.toml"
    file.write_text(delivered(before).relay_file())
    after = read(file, secrets_here=False)
    assert set(after.receivers) == set(after.relayed) == {"ding", "wecom", "hook"}
    assert after.relayed["ding"].secret_file == Path("/run/secrets/ding_secret")
    assert after.routes.critical == ("ding",)
    assert after.routes.warning == ("wecom", "hook")
    assert after.remote_write == ()
    assert after.language == "zh"
    assert after.limits("zimage") == before.limits("zimage")


def test_in_containers_the_relay_has_its_own_address(tmp_path: Path) -> None:
    assert delivered(monitoring(tmp_path)).monitoring.relay_url is None


def test_without_a_monitoring_file_there_is_no_relay_and_no_secret() -> None:
    result = delivered(Monitoring())
    assert not result.relayed
    assert not result.secrets


def test_prometheus_reads_the_credentials_of_stores_where_containers_have_secrets(
    tmp_path: Path,
) -> None:
    mimir, thanos = delivered(monitoring(tmp_path)).monitoring.remote_write
    assert mimir.password_file == Path("/run/secrets/store.0_password")
    assert thanos.token_file == Path("/run/secrets/store.1_token")
