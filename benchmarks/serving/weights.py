"""Writes the editor as a folder where it is not there yet, and prints where that is.

It runs as a process of its own, because its libraries would stay in the memory of whoever measures.
"""

import tempfile
from pathlib import Path

from safelight.models.demo.bundle import save

if __name__ == "__main__":
    folder = Path(tempfile.mkdtemp(prefix="safelight-bench-")) / "demo-edit"
    save("demo-edit", folder)
    print(folder)
