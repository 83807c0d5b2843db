"""What a report of a mistake needs: the versions of Safelight, Python, the platform and libraries.

It is read from the installed packages, without importing one.
"""

import platform
from importlib.metadata import PackageNotFoundError, version

# Those whose changes have caused faults, or whose objects are watched.
LIBRARIES = (
    "torch",
    "diffusers",
    "transformers",
    "fastapi",
    "starlette",
    "uvicorn",
    "flask",
    "prometheus-client",
    "sqlalchemy",
    "numpy",
    "pillow",
)


def versions() -> str:
    """Return the versions, one a line; the first is Safelight's."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    rows = {"Python": python, "platform": platform.platform()}
    rows |= {name: _installed(name) for name in LIBRARIES}
    width = max(map(len, rows))
    lines = [f"{name:<{width}}  {text}" for name, text in rows.items()]
    return "\n".join([f"safelight {version('safelight')}", *lines])


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
