"""`safelight sleep` and `safelight wake`: free a service's device, and load its model again."""

import typer

from safelight.cli.operating import DEFAULT_ADDRESS, Address, post

_SLEEP_SECONDS, _WAKE_SECONDS = 60.0, 3700.0  # the longest timeout of a request, and a margin


def sleep(url: Address = DEFAULT_ADDRESS) -> None:
    """Let the model of an idle service sleep: its device is free until the next request.

    The next request, or `safelight wake`, loads the model again. A key is read from
    SAFELIGHT_OPERATOR_KEY.

    Example:

        safelight sleep http://127.0.0.1:8000
    """
    post(url, "/v1/model/sleep", timeout_seconds=_SLEEP_SECONDS)
    typer.echo("The model sleeps; its device is free. The next request wakes it.")


def wake(url: Address = DEFAULT_ADDRESS) -> None:
    """Wake the model of a service, and wait until it is loaded.

    A key is read from SAFELIGHT_OPERATOR_KEY.

    Example:

        safelight wake http://127.0.0.1:8000
    """
    post(url, "/v1/model/wake", timeout_seconds=_WAKE_SECONDS)
    typer.echo("The model is awake and serves requests.")
