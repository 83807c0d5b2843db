"""Who may call."""

import hmac
from contextlib import suppress

import pytest

from safelight.errors import Unauthorized
from safelight.serving.http.keys import Keys, hashed, is_name, new_key
from safelight.settings import Settings

ALICES, BOBS = "sl-alices", "sl-bobs"
SETTING = f"alice={hashed(ALICES)},bob={hashed(BOBS)}"
ADDRESS = "192.0.2.1"


def test_without_keys_the_owner_is_the_address() -> None:
    keys = Keys("")

    assert not keys
    assert keys.owner(None, ADDRESS) == ADDRESS
    assert keys.owner("Bearer whatever", ADDRESS) == ADDRESS


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
    keys = Keys(SETTING)

    assert keys
    assert keys.owner(authorization, ADDRESS) == owner


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
        Keys(SETTING).owner(authorization, ADDRESS)
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
        Keys(SETTING).owner(authorization, ADDRESS)

    assert compared == [hashed(ALICES), hashed(BOBS)]


def test_a_new_key_opens_once_its_hash_is_set() -> None:
    key = new_key()

    assert key.startswith("sl-")
    assert len(key) >= 3 + 43
    assert key != new_key()
    assert Keys(f"carol={hashed(key)}").owner(f"Bearer {key}", ADDRESS) == "carol"


def test_the_hash_is_the_sha_256_that_other_tools_make() -> None:
    assert hashed("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_the_setting_accepts_a_new_key() -> None:
    settings = Settings(api_keys=SETTING)

    assert Keys(settings.api_keys).owner(f"Bearer {ALICES}", ADDRESS) == "alice"


@pytest.mark.parametrize("setting", ["alice=", "alice", f"alice={ALICES}", f"={hashed(ALICES)}"])
def test_a_name_without_a_hash_is_refused_before_anything_starts(setting: str) -> None:
    with pytest.raises(ValueError, match="api_keys"):
        Settings(api_keys=setting)


def test_no_key_and_no_hash_is_shown_with_the_settings() -> None:
    assert hashed(ALICES) not in repr(Settings(api_keys=SETTING))


@pytest.mark.parametrize("name", ["a", "alice", "alice.smith-2_x", "x" * 64])
def test_a_name_that_is_taken_can_be_set(name: str) -> None:
    assert is_name(name)
    assert (
        Keys(Settings(api_keys=f"{name}={hashed(ALICES)}").api_keys).owner(
            f"Bearer {ALICES}", ADDRESS
        )
        == name
    )


@pytest.mark.parametrize("name", ["", "x" * 65, "a b", "a=b", "a,b", "alice\n", 'a"', "{a}"])
def test_a_name_that_would_break_the_setting_is_refused(name: str) -> None:
    assert not is_name(name)
