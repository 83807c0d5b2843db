"""Report what callers reach without an API key, from the settings alone: no request is sent."""

from collections.abc import Iterator

from safelight.origins import is_local
from safelight.settings import PAGES, Settings, environment_name
from safelight.stack.tools.finding import Finding

_AREA = "access"
_BESIDE = "Prometheus, Alertmanager, node-exporter"
_ALONE = "open, for programs of this machine only"


def open_to(settings: Settings) -> Iterator[Finding]:
    """Yield who reaches the model, each page, and the programs of `safelight up`."""
    keyed, alone = bool(settings.api_keys or settings.api_keys_file), is_local(settings.host)
    protected = settings.protected_pages.split(",") if keyed else ()
    everyone = _ALONE if alone else f"open, for everyone who reaches {settings.host}"
    file, pages = environment_name("api_keys_file"), environment_name("protected_pages")
    keys = f"Make a key (safelight key) and set {file}."

    def finding(name: str, needs_key: bool, remedy: str) -> Finding:  # noqa: FBT001
        detail = "needs an API key" if needs_key else everyone
        return Finding(_AREA, name, needs_key or alone, detail, needed=False, remedy=remedy)

    yield finding("the model", keyed, keys)
    for name, path in PAGES.items():
        add = f"Add {name} to {pages}."
        yield finding(path, name in protected, add if keyed else f"{keys} {add}")
    yield finding(_BESIDE, needs_key=False, remedy="They have no keys: use a proxy or a firewall.")
    yield from _files(settings)


def _files(settings: Settings) -> Iterator[Finding]:
    """Yield whether the files with keys can be read, and which users can read them."""
    for field in ("api_keys_file", "metrics_key_file"):
        path = getattr(settings, field)
        if path is None:
            continue
        variable = environment_name(field)
        try:
            with path.expanduser().open("rb"):
                shared = path.expanduser().stat().st_mode & 0o007
        except OSError as error:
            detail = str(error.strerror)
            yield Finding(_AREA, str(path), found=False, detail=detail, remedy=f"Set {variable}.")
        else:
            detail = "readable for all users of this machine" if shared else "readable"
            remedy = f"chmod o= {path}"
            yield Finding(_AREA, str(path), not shared, detail, needed=False, remedy=remedy)
