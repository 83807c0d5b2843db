"""`safelight demo story`: told in a terminal, with its diagnosis, forecast and remedy."""

from tests.cli.conftest import Call


def test_p13_a_leak_is_told_as_a_staircase_with_where_to_look_and_when_it_ends(call: Call) -> None:
    told = call("demo", "story", "vram-leak")
    assert told.code == 0, told.err
    for words in ("vram_leak", "climbs like a staircase", "MB an hour", "torch.inference_mode"):
        assert words in told.out
    assert "95 %:" in told.out


def test_a_story_that_is_none_is_refused_with_their_names(call: Call) -> None:
    told = call("demo", "story", "happy-end")
    assert told.code == 2
    assert "io-bottleneck, vram-leak, bad-background" in told.err
