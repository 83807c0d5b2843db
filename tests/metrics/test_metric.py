import pytest

from safelight.metrics.metric import NAMESPACED, OTHER, Family, Kind, Label, Metric

COLOUR = Label("colour", "Which colour.", values=("red", "green", OTHER))
ROUTE = Label("route", "Which route.")


def metric(name: str = "work_seconds", **changed: object) -> Metric:
    given: dict[str, object] = {"kind": Kind.GAUGE, "family": Family.MODEL, **changed}
    return Metric(name, "Some help.", **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("family", Family)
def test_only_metrics_of_the_service_have_its_namespace(family: Family) -> None:
    expected = "pix_work_seconds" if family in NAMESPACED else "work_seconds"
    assert metric(family=family).full_name("pix") == expected


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("work_seconds", "s"),
        ("busy_seconds_total", "s"),
        ("used_bytes", "bytes"),
        ("busy_ratio", "percentunit"),
        ("request_total", "short"),
        ("steps", "short"),
    ],
)
def test_the_unit_follows_from_the_name(name: str, unit: str) -> None:
    assert metric(name).unit == unit


@pytest.mark.parametrize(
    ("kind", "buckets", "lines"),
    [
        (Kind.GAUGE, (), 2 + 3),
        (Kind.COUNTER, (), 2 + 3),
        (Kind.SUMMARY, (), 2 + 3 * 2),
        (Kind.HISTOGRAM, (1.0, 2.0), 2 + 3 * 5),  # two edges, +Inf, sum and count
    ],
)
def test_a_metric_has_a_maximum_number_of_lines(
    kind: Kind, buckets: tuple[float, ...], lines: int
) -> None:
    assert metric(kind=kind, buckets=buckets, labels=(COLOUR,), series=3).lines == lines


def test_a_label_with_listed_values_is_closed() -> None:
    assert COLOUR.closed
    assert not ROUTE.closed


def test_closed_labels_bound_a_metric_and_open_ones_do_not() -> None:
    assert metric(labels=(COLOUR,), series=3).bounded
    assert not metric(labels=(COLOUR,), series=2).bounded
    assert not metric(labels=(ROUTE,), series=1000).bounded
    assert metric().bounded
