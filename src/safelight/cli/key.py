"""`safelight key`: make an API key, and print the hash that goes into the settings."""

from typing import Annotated

import typer

from safelight.settings import SCOPES, environment_name


def key(
    name: Annotated[str, typer.Argument(help="Name of the key: letters, digits, _ . and -.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(help=f"What the key may do: {', '.join(SCOPES)}; repeatable. Default: all."),
    ] = None,
) -> None:
    """Make an API key. It is shown once; the service stores only its hash.

    Examples:

        safelight key anna

        safelight key prometheus --scope operate
    """
    from safelight.errors import BadSetting
    from safelight.serving.http.keys import hashed, is_name, new_key

    if not is_name(name):
        raise BadSetting(f"{name[:40]!r} is not a valid key name. Use letters, digits, _ . and -.")
    unknown = [each for each in scope or () if each not in SCOPES]
    if unknown:
        raise BadSetting(f"{unknown[0][:40]!r} is not a scope. Use {', '.join(SCOPES)}.")
    chosen = [each for each in SCOPES if each in (scope or ())]
    label = f"{name}:{'+'.join(chosen)}" if chosen else name
    secret = new_key()
    print(f"key for {name} (shown once):   {secret}")
    print(f"add to {environment_name('api_keys')}:   {label}={hashed(secret)}")
    print(f"or as a line to the file of {environment_name('api_keys_file')}")
    print("callers send:   Authorization: Bearer <key>")
