"""The licence of an installed package, from its metadata."""

from importlib.metadata import metadata, version

# What packages without an SPDX expression write, in their field or their classifier.
WRITTEN = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache": "Apache-2.0",
    "Apache 2.0 License": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "Zope Public License": "ZPL-2.1",
}
# Their metadata has no licence; read from the file LICENSE of the installed version.
READ = {
    "atheris": ("3.0.0", "Apache-2.0"),
    "axe-playwright-python": ("0.1.8", "MIT AND MPL-2.0"),
    "prometheus-fastapi-instrumentator": ("8.1.0", "ISC"),
    "promql-parser": ("0.11.0", "Apache-2.0"),
    "torchao": ("0.18.0", "BSD-3-Clause"),
}


def licence(name: str) -> str:
    """Return the licence of an installed package as an SPDX expression, or "" if it is unknown."""
    if name in READ and READ[name][0] == version(name):
        return READ[name][1]
    about = metadata(name)
    for expression in about.get_all("License-Expression", []):
        return str(expression)
    kinds = [each.split(" :: ") for each in about.get_all("Classifier", [])]
    written = [kind[-1] for kind in kinds if kind[0] == "License" and len(kind) > 2]
    written = written or [
        line for text in about.get_all("License", []) for line in text.splitlines()[:1]
    ]
    return " AND ".join(WRITTEN.get(text, text) for text in written)
