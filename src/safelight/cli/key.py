"""`safelight key`: a new API key, and what the settings keep of it."""

from typing import Annotated

import typer

from safelight.settings import environment_name


def key(
    name: Annotated[str, typer.Argument(help="Whose key it is; letters, digits, _ . and -.")],
) -> None:
    """Make an API key. It is shown once; the service knows only its hash.

    Example:

        safelight key anna
    """
    from safelight.errors import BadSetting
    from safelight.serving.http.keys import hashed, is_name, new_key

    if not is_name(name):
        raise BadSetting(f"{name[:40]!r} is no name for a key: use letters, digits, _ . and -.")
    made = new_key()
    print(f"key for {name} (shown once):   {made}")
    print(f"to be added to {environment_name('api_keys')}:   {name}={hashed(made)}")
    print("callers send:   Authorization: Bearer <key>")
