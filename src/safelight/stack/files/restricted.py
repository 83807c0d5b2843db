"""What every container of the compose file has: no privileges, limits, and a health check."""

from safelight.stack.files.document import Document


def restricted(port: str, variable: str, *, memory: str) -> Document:
    """Return what a container with one port has; a variable chooses its number outside."""
    return {"ports": [f"127.0.0.1:${{{variable}:-{port}}}:{port}"], **limited(memory)}


def limited(memory: str) -> Document:
    """Return what every container has: no privileges, limits, and restarts."""
    return {
        "restart": "unless-stopped",
        # Without these options, every line is kept for ever.
        "logging": {"driver": "json-file", "options": {"max-size": "20m", "max-file": "5"}},
        "read_only": True,
        "tmpfs": ["/tmp"],
        "mem_limit": memory,
        "pids_limit": 4096,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
    }


def health(test: list[str], start_period: str = "30s") -> Document:
    """Return a health check: three failures in a row, ten seconds apart, after the start."""
    return {
        "test": test,
        "interval": "10s",
        "timeout": "5s",
        "retries": 3,
        "start_period": start_period,
    }
