"""`safelight key`: make an API key, and print the hash that goes into the settings."""

from typing import Annotated

import typer

from safelight.settings import environment_name


def key(
    name: Annotated[str, typer.Argument(help="Name of the key: letters, digits, _ . and -.")],
) -> None:
    """Make an API key. It is shown once; the service stores only its hash.

    Example:

        safelight key anna
    """
    from safelight.errors import BadSetting
    from safelight.serving.http.keys import hashed, is_name, new_key

    if not is_name(name):
        raise BadSetting(f"{name[:40]!r} is not a valid key name. Use letters, digits, _ . and -.")
    secret = new_key()
    print(f"key for {name} (shown once):   {secret}")
    print(f"add to {environment_name('api_keys')}:   {name}={hashed(secret)}")
    print("callers send:   Authorization: Bearer <key>")
