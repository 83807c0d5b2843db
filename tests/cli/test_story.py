"""`safelight demo story` prints a fault with its diagnosis, forecast and remedy."""

from tests.cli.conftest import Call


def test_p13_a_memory_leak_is_explained_with_its_cause_and_forecast(call: Call) -> None:
    result = call("demo", "story", "vram-leak")
    assert result.code == 0, result.err
    for words in ("vram_leak", "grows steadily", "MiB per hour", "torch.inference_mode"):
        assert words in result.out
    assert "95 %:" in result.out


def test_an_unknown_story_is_refused_with_the_known_names(call: Call) -> None:
    result = call("demo", "story", "happy-end")
    assert result.code == 2
    assert "io-bottleneck, vram-leak, shadow-worse, bad-background" in result.err
