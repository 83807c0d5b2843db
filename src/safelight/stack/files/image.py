"""Generate the Dockerfile of the service: an unprivileged user, and its folders."""

from safelight.stack.files.document import header

USER = 10001
CACHE = "/home/safelight/.cache"  # downloaded weights
STATE = "/var/lib/safelight"  # records
LOGS = "/var/log/safelight"  # if lines go to a file
IMAGE = "safelight:local"
PYTHON = "python:3.11.14-slim-bookworm"
_HEADER = header("image")


def dockerfile() -> str:
    """Return the Dockerfile of the service, which runs as an unprivileged user."""
    return f"""{_HEADER}FROM {PYTHON}

RUN useradd --create-home --uid {USER} safelight \\
    && install -d -o safelight -g safelight {CACHE} {STATE} {LOGS}
WORKDIR /opt/safelight
COPY locks/image.txt locks/
RUN pip install --no-cache-dir --require-hashes --requirement locks/image.txt
COPY pyproject.toml README.md LICENSE sbom.cdx.json ./
COPY src src
RUN pip install --no-cache-dir --no-deps --no-build-isolation .

USER {USER}
WORKDIR /home/safelight
# Listen on all addresses of the container; what starts it limits who can reach it.
ENV SAFELIGHT_HOST=0.0.0.0 SAFELIGHT_ALLOW_ANONYMOUS=true
ENV SAFELIGHT_STATE_FOLDER={STATE}
ENV SAFELIGHT_LOG_FORMAT=json PYTHONUNBUFFERED=1
EXPOSE 8000
ENTRYPOINT ["safelight"]
CMD ["serve"]
"""


def dockerignore() -> str:
    """Return a .dockerignore that keeps only what the image needs."""
    names = ("locks/image.txt", "pyproject.toml", "README.md", "LICENSE", "sbom.cdx.json", "src")
    return _HEADER + "\n".join(["*", *(f"!{name}" for name in names), "**/__pycache__"]) + "\n"
