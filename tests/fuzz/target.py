"""Run atheris on one target in this process; tests/fuzz/__main__.py starts it."""

import sys

import atheris

with atheris.instrument_imports(
    include=["safelight", "python_multipart", "yaml", "tomllib", "PIL"]
):
    from tests.fuzz.targets import TARGETS

if __name__ == "__main__":
    name = sys.argv.pop(1)
    atheris.Setup(sys.argv, TARGETS[name])
    atheris.Fuzz()
