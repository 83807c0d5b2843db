import pytest

from safelight.metrics.catalog import CATALOG, REQUEST_SECONDS
from safelight.metrics.metric import Metric
from safelight.reference.metrics import as_markdown, lookup, rows

PAGE = as_markdown("pix")


@pytest.mark.parametrize("metric", CATALOG, ids=lambda metric: metric.name)
def test_every_metric_is_on_the_page_with_its_help_and_labels(metric: Metric) -> None:
    row = next(line for line in PAGE.splitlines() if f"| `{metric.full_name('pix')}` |" in line)
    assert metric.help in row
    assert all(f"`{name}`" in row for name in metric.label_names)


def test_every_row_of_the_page_has_four_cells() -> None:
    table = [line for line in PAGE.splitlines() if line.startswith("|")]
    assert all(line.count("|") == 5 for line in table)


def test_the_closed_values_of_a_label_are_on_the_page() -> None:
    assert "`1-5`, `6-10`, `11-20`, `21-50`, `51+`" in PAGE


def test_the_page_has_the_maximum_number_of_lines() -> None:
    assert f"{sum(metric.lines for metric in CATALOG):,}" in PAGE


def test_the_rows_are_in_the_order_of_the_catalogue() -> None:
    assert [name for name, *_ in rows("pix")] == [metric.full_name("pix") for metric in CATALOG]


@pytest.mark.parametrize("suffix", ["", "_bucket", "_sum", "_count"])
def test_the_metric_of_an_exposed_name_is_found(suffix: str) -> None:
    assert lookup(REQUEST_SECONDS.full_name("pix") + suffix, "pix") is REQUEST_SECONDS


def test_an_unknown_name_has_no_metric() -> None:
    assert lookup("pix_made_up", "pix") is None
    assert lookup(REQUEST_SECONDS.name, "pix") is None
