"""Write the editor's weights to a new folder and print its path.

It runs in a process of its own, because its libraries would stay in the caller's memory.
"""

import tempfile
from pathlib import Path

from safelight.models.demo.bundle import save

if __name__ == "__main__":
    folder = Path(tempfile.mkdtemp(prefix="safelight-bench-")) / "demo-edit"
    save("demo-edit", folder)
    print(folder)
