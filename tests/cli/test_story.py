"""`safelight demo story`: told in a terminal, with its diagnosis, forecast and remedy."""

from tests.cli.conftest import Call


def test_p13_the_story_of_a_leak_has_its_rate_remedy_and_forecast(call: Call) -> None:
    told = call("demo", "story", "vram-leak")
    assert told.code == 0, told.err
    for words in ("vram_leak", "grows steadily", "MiB per hour", "torch.inference_mode"):
        assert words in told.out
    assert "95 %:" in told.out


def test_a_story_that_is_none_is_refused_with_their_names(call: Call) -> None:
    told = call("demo", "story", "happy-end")
    assert told.code == 2
    assert "io-bottleneck, vram-leak, bad-background" in told.err
