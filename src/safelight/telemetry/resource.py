"""What receivers of OTLP know of the service that sends: OpenTelemetry's resource."""

from importlib.metadata import version


def service_attributes(namespace: str, instance: str) -> dict[str, str]:
    """Return the attributes of a service. `instance` is unique among its instances."""
    return {
        "service.name": namespace,
        "service.version": version("safelight"),
        "service.instance.id": instance,
    }
