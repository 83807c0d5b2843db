from typing import Any

import promql_parser as promql
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safelight.metrics.catalog import (
    ENDPOINT,
    GPU_MEMORY_TOTAL,
    GPU_MEMORY_USED,
    HTTP_REQUEST_BYTES,
    INSTRUCTION_TYPE,
    PROBE_TIMESTAMP,
    REQUEST_SECONDS,
    REQUESTS,
    STATUS_CODE,
    SUCCESSES,
    VRAM_USED,
)
from safelight.metrics.promql import JOB, Queries, copied

PIX = Queries("instructpix2pix")
EXPRESSIONS = {
    "select": PIX.select(REQUESTS, {STATUS_CODE: "~5..", ENDPOINT: "!none"}),
    "rate": PIX.rate(REQUESTS, (ENDPOINT,)),
    "rate of a histogram": PIX.rate(REQUEST_SECONDS, window="1h"),
    "increase": PIX.increase(REQUESTS),
    "quantile": PIX.quantile(0.95, REQUEST_SECONDS, (INSTRUCTION_TYPE,)),
    "buckets": PIX.buckets(REQUEST_SECONDS),
    "bucket counts": PIX.bucket_counts(REQUEST_SECONDS),
    "mean": PIX.mean(REQUEST_SECONDS),
    "seconds per second": PIX.seconds_per_second(REQUEST_SECONDS),
    "success ratio": PIX.success_ratio(SUCCESSES, REQUESTS, (INSTRUCTION_TYPE,)),
    "share": PIX.share(REQUESTS, {STATUS_CODE: "!~2.."}),
    "fraction": PIX.fraction(GPU_MEMORY_USED, GPU_MEMORY_TOTAL),
    "age": PIX.age(PROBE_TIMESTAMP),
    "trend": PIX.trend(VRAM_USED),
    "forecast": PIX.forecast(VRAM_USED, 3600),
    "foreign": PIX.foreign("up", {JOB: "safelight"}),
    "copied": copied(PIX.rate(REQUESTS, (ENDPOINT,)), ENDPOINT, "name"),
}


def matchers(selector: str) -> list[tuple[str, str, Any]]:
    tree = promql.parse(selector)
    assert isinstance(tree, promql.VectorSelector)
    return [(found.name, found.value, found.op) for found in tree.matchers.matchers]


@pytest.mark.parametrize("expression", EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_every_expression_parses(expression: str) -> None:
    assert promql.parse(expression).prettify()


@given(st.text().filter(lambda text: not text.startswith(("~", "!"))))
def test_a_matcher_escapes_any_text(text: str) -> None:
    assert matchers(PIX.select(REQUESTS, {ENDPOINT: text})) == [
        ("endpoint", text, promql.MatchOp.Equal)
    ]


@pytest.mark.parametrize(
    ("value", "operator"),
    [
        ("none", promql.MatchOp.Equal),
        ("!none", promql.MatchOp.NotEqual),
        ("~none", promql.MatchOp.Re),
        ("!~none", promql.MatchOp.NotRe),
    ],
)
def test_a_sign_before_the_value_chooses_the_operator(value: str, operator: Any) -> None:
    assert matchers(PIX.select(REQUESTS, {ENDPOINT: value})) == [("endpoint", "none", operator)]


def test_every_selector_has_the_matchers_of_the_builder() -> None:
    queries = Queries("pix", matchers={JOB: "one"})
    assert queries.success_ratio(SUCCESSES, REQUESTS).count('job="one"') == 3
    assert queries.foreign("up") == 'up{job="one"}'


def test_a_selector_has_the_namespace() -> None:
    assert PIX.select(REQUESTS) == "instructpix2pix_request_total"
    assert PIX.select(GPU_MEMORY_USED) == "gpu_memory_used_bytes"


def test_the_rate_of_a_histogram_or_summary_counts_its_observations() -> None:
    assert "request_duration_seconds_count[5m]" in PIX.rate(REQUEST_SECONDS)
    assert "http_request_size_bytes_count[5m]" in PIX.rate(HTTP_REQUEST_BYTES)
    assert "request_total[5m]" in PIX.rate(REQUESTS)


def test_a_quantile_is_grouped_by_le_and_the_labels() -> None:
    assert PIX.quantile(0.95, REQUEST_SECONDS, (ENDPOINT,)) == (
        "histogram_quantile(0.95, sum by (le, endpoint) "
        "(rate(instructpix2pix_request_duration_seconds_bucket[5m])))"
    )


def test_an_unknown_foreign_name_is_rejected() -> None:
    with pytest.raises(ValueError, match=r"FOREIGN"):
        PIX.foreign("node_load1")
