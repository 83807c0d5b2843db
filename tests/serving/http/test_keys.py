"""Who may call."""

import hmac
from contextlib import suppress

import pytest

from safelight.errors import Unauthorized
from safelight.serving.http.keys import Key, Keys, hashed, is_name, new_key, read
from safelight.settings import SCOPES, Settings

ALICES, BOBS = "sl-alices", "sl-bobs"
SETTING = f"alice={hashed(ALICES)},bob={hashed(BOBS)}"


def find(setting: str, authorization: str | None) -> Key:
    valid = read(setting)
    return Keys(lambda: valid).find(authorization)


@pytest.mark.parametrize(
    ("authorization", "owner"),
    [
        (f"Bearer {ALICES}", "alice"),
        (f"Bearer {BOBS}", "bob"),
        (f"bearer {BOBS}", "bob"),
        (f"BEARER   {BOBS} ", "bob"),
    ],
)
def test_who_shows_a_key_is_known_by_its_name(authorization: str, owner: str) -> None:
    assert find(SETTING, authorization).name == owner


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        ALICES,
        f"Basic {ALICES}",
        f"Bearer {ALICES}x",
        f"Bearer {ALICES[:-1]}",
        f"Bearer {ALICES.upper()}",
        f"Bearer {hashed(ALICES)}",
        "Bearer alice",
        f"Bearer {SETTING}",
        "Bearer schlüssel\x00",
    ],
)
def test_an_unknown_key_is_refused(authorization: str | None) -> None:
    with pytest.raises(Unauthorized) as refused:
        find(SETTING, authorization)
    assert refused.value.status == 401


@pytest.mark.parametrize("authorization", [f"Bearer {ALICES}", f"Bearer {BOBS}", "Bearer no", None])
def test_every_hash_is_compared_in_constant_time(
    authorization: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared, compare = [], hmac.compare_digest

    def counting(known: str, shown: str) -> bool:
        compared.append(known)
        return compare(known, shown)

    monkeypatch.setattr(hmac, "compare_digest", counting)
    with suppress(Unauthorized):
        find(SETTING, authorization)

    assert compared == [hashed(ALICES), hashed(BOBS)]


def test_a_new_key_opens_once_its_hash_is_set() -> None:
    key = new_key()

    assert key.startswith("sl-")
    assert len(key) >= 3 + 43
    assert key != new_key()
    assert find(f"carol={hashed(key)}", f"Bearer {key}").name == "carol"


def test_the_hash_is_the_sha_256_that_other_tools_make() -> None:
    assert hashed("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_the_setting_accepts_a_new_key() -> None:
    settings = Settings(api_keys=SETTING)

    assert find(settings.api_keys, f"Bearer {ALICES}").name == "alice"


@pytest.mark.parametrize("setting", ["alice=", "alice", f"alice={ALICES}", f"={hashed(ALICES)}"])
def test_a_name_without_a_hash_is_refused_before_anything_starts(setting: str) -> None:
    with pytest.raises(ValueError, match="api_keys"):
        Settings(api_keys=setting)


def test_no_key_and_no_hash_is_shown_with_the_settings() -> None:
    assert hashed(ALICES) not in repr(Settings(api_keys=SETTING))


@pytest.mark.parametrize("name", ["a", "alice", "alice.smith-2_x", "x" * 64])
def test_a_name_that_is_taken_can_be_set(name: str) -> None:
    assert is_name(name)
    setting = Settings(api_keys=f"{name}={hashed(ALICES)}").api_keys
    assert find(setting, f"Bearer {ALICES}").name == name


@pytest.mark.parametrize("name", ["", "x" * 65, "a b", "a=b", "a,b", "alice\n", 'a"', "{a}"])
def test_a_name_that_would_break_the_setting_is_refused(name: str) -> None:
    assert not is_name(name)


def test_an_old_key_without_scopes_may_do_everything() -> None:
    assert find(SETTING, f"Bearer {ALICES}").scopes == set(SCOPES)


@pytest.mark.parametrize("written", [["infer"], ["rate", "view"], list(SCOPES)])
def test_a_key_may_do_what_is_written_and_no_more(written: list[str]) -> None:
    setting = Settings(api_keys=f"alice:{'+'.join(written)}={hashed(ALICES)}").api_keys
    assert find(setting, f"Bearer {ALICES}").scopes == set(written)


def test_two_keys_with_one_name_are_one_caller_so_that_a_key_can_be_replaced() -> None:
    setting = f"alice={hashed(ALICES)},alice:infer={hashed(BOBS)}"
    assert {find(setting, f"Bearer {key}").name for key in (ALICES, BOBS)} == {"alice"}


def test_a_file_has_one_key_a_line_and_comments() -> None:
    text = f"# the team\nalice={hashed(ALICES)}\r\n\n  bob:infer={hashed(BOBS)} \n# end"
    assert [key.name for key in read(text)] == ["alice", "bob"]


def test_a_key_that_was_written_instead_of_its_hash_is_not_repeated() -> None:
    with pytest.raises(ValueError, match=r"^line 2 is not NAME\[:SCOPE\+SCOPE\]=HASH$"):
        read(f"alice={hashed(ALICES)}\nbob={new_key()}")
