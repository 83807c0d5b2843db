"""What a receiver of traces got."""

from typing import Any

from tests.telemetry.receiver import Receiver


def spans_of(receiver: Receiver) -> list[Any]:
    """Return all spans that a receiver got."""
    return [
        span
        for each in receiver.traces
        for resource in each.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def resource_of(receiver: Receiver) -> dict[str, str]:
    """Return the attributes of the service that sent the first traces."""
    (resource,) = receiver.traces[0].resource_spans
    return {each.key: each.value.string_value for each in resource.resource.attributes}


def roots(receiver: Receiver) -> dict[str, Any]:
    """Return the span of each request by its id."""
    found = {}
    for span in spans_of(receiver):
        names = {each.key: each.value.string_value for each in span.attributes}
        if "safelight.request.id" in names:
            found[names["safelight.request.id"]] = span
    return found
