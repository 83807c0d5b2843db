"""Names of instances and their addresses."""

import asyncio
from collections.abc import Sequence

import pytest

from safelight.errors import BadSetting
from safelight.serving.http.addresses import PEER_LIMIT, Addresses, Peer, plain
from tests.reading import FakeClock


class Names:
    """Looks names up in a table, and counts."""

    def __init__(self, **table: Sequence[str]) -> None:
        self.table = table
        self.count = 0

    async def __call__(self, name: str, _port: int) -> Sequence[str]:
        self.count += 1
        if name not in self.table:
            raise OSError("unknown")
        return self.table[name]


@pytest.mark.parametrize(
    ("address", "usual"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("FD00:0::1", "fd00::1"),
        ("", ""),
        ("no address", "no address"),
    ],
)
def test_an_address_has_one_form(address: str, usual: str) -> None:
    assert plain(address) == usual


@pytest.mark.parametrize(
    ("peer", "url", "host"),
    [
        (Peer("http", "one", "10.0.0.1", 80), "http://10.0.0.1:80", "one:80"),
        (Peer("https", "one", "fd00::1", 8000), "https://[fd00::1]:8000", "one:8000"),
        (Peer("http", "::1", "::1", 8000), "http://[::1]:8000", "[::1]:8000"),
    ],
)
def test_an_instance_is_reached_by_address_and_asked_by_name(
    peer: Peer, url: str, host: str
) -> None:
    assert (peer.url, peer.host) == (url, host)


async def test_all_addresses_of_all_names_are_found_once() -> None:
    names = Names(one=["10.0.0.1", "10.0.0.2"], two=["::ffff:10.0.0.2", "fd00::1"])
    found = await Addresses("http://one:8000,https://two,http://one:8000", resolve=names).find()
    assert [peer.url for peer in found.peers] == [
        "http://10.0.0.1:8000",
        "http://10.0.0.2:8000",
        "https://10.0.0.2:443",
        "https://[fd00::1]:443",
    ]
    assert found.missing == ""
    assert found.has("::ffff:10.0.0.1")
    assert not found.has("10.0.0.3")


async def test_an_unknown_name_is_missing_and_the_others_are_found() -> None:
    addresses = Addresses("http://one:1,http://two:1", resolve=Names(two=["10.0.0.2"]))
    found = await addresses.find()
    assert [peer.name for peer in found.peers] == ["two"]
    assert found.missing == "one has no address"


async def test_a_name_that_takes_too_long_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("safelight.serving.http.addresses._LOOKUP_SECONDS", 0.01)

    async def resolve(_name: str, _port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    found = await Addresses("http://slow:1", resolve=resolve).find()
    assert found.missing == "slow has no address"


async def test_too_many_instances_are_cut_and_said() -> None:
    many = [f"10.0.0.{place}" for place in range(PEER_LIMIT + 1)]
    found = await Addresses("http://many:1", resolve=Names(many=many)).find()
    assert len(found.peers) == PEER_LIMIT
    assert found.missing == "17 instances are more than the limit of 16"


async def test_a_look_up_is_kept_five_seconds_and_one_if_it_failed_or_must_be_fresh() -> None:
    clock, names = FakeClock(50.0), Names(one=["10.0.0.1"])
    addresses = Addresses("http://one:1", resolve=names, clock=clock)
    for moment, fresh, count in (
        (50.0, False, 1),
        (54.9, False, 1),
        (54.9, True, 2),
        (55.8, True, 2),
        (55.8, False, 2),
        (59.9, False, 3),
    ):
        clock.now = moment
        await addresses.find(fresh=fresh)
        assert names.count == count, moment
    names.table = {}
    clock.now = 70.0
    assert (await addresses.find()).missing
    clock.now = 71.0
    names.table = {"one": ["10.0.0.1"]}
    assert not (await addresses.find()).missing


async def test_many_callers_share_one_look_up() -> None:
    names = Names(one=["10.0.0.1"])
    addresses = Addresses("http://one:1", resolve=names)
    await asyncio.gather(*(addresses.find() for _ in range(20)))
    assert names.count == 1


def test_a_name_that_no_address_can_have_is_refused() -> None:
    with pytest.raises(BadSetting, match="SAFELIGHT_PEERS cannot be read"):
        Addresses(f"http://{'ä' * 300}:1")
