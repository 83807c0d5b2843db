"""Builds the editor's weights where they are not there yet, and prints their folder.

It runs as a process of its own, because it loads torch, whose memory it would share with whoever is
measured.
"""

from pathlib import Path

from safelight.models.demo.build import demo_folder

if __name__ == "__main__":
    print(demo_folder("demo-edit", Path("~/.cache/safelight").expanduser()))
