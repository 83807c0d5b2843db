"""Check, build and tag a release: `VERSION=0.2.0 make release`. It publishes nothing.

Each refusal is one line. Nothing is changed before all checks have passed: the files in dist/ are
written next, and the tag is the last step.
"""

import argparse
import json
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

from packaging.metadata import Metadata

# Each runs before the build. `--without-tests` leaves them out.
TESTS = (("make", "test"), (sys.executable, "-m", "scripts.wheels"))
_MAX_WHEEL_BYTES = 40e6  # the demo models are most of it
_BILL = "sboms/sbom.cdx.json"
_NEXT = """\
{wheel}
{sdist}
The tag v{version} is only here. Nothing is published. Next:
  git push origin main v{version}
  upload both files to your package index
  add the section of the next version to CHANGELOG.md, and change the version in pyproject.toml
"""


class Refused(Exception):
    """The release cannot be made. The text is one line that says what to do."""


def release(root: Path, version: str, *, tested: bool = True) -> str:
    """Make the release of a version. Return what to do next. Raises Refused."""
    notes = check_source(root, version)
    for command in TESTS if tested else ():
        if subprocess.run(command, cwd=root, check=False).returncode:
            raise Refused(f"{' '.join(command[-2:])} failed. Correct it, commit, and try again.")
    check_tree(root)  # the tests must not have changed a file
    with TemporaryDirectory(prefix="safelight-release-") as name:
        wheel, sdist = build(root, version, Path(name))
        for problem in (*wheel_problems(wheel, root, version), *sdist_problems(sdist, root)):
            raise Refused(problem)
        built = [keep(file, root / "dist") for file in (wheel, sdist)]
    git(root, "tag", "--annotate", "--cleanup=whitespace", "--message", notes, f"v{version}")
    wheel_name, sdist_name = (str(file.relative_to(root)) for file in built)
    return _NEXT.format(wheel=wheel_name, sdist=sdist_name, version=version)


def check_source(root: Path, version: str) -> str:
    """Return the text of the version in CHANGELOG.md. Raises Refused if anything is not ready."""
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise Refused(f"{version[:40]!r} is not a version. Write it like 0.2.0.")
    branch = git(root, "branch", "--show-current")
    if branch != "main":
        raise Refused(f"This is {branch or 'no branch'}, not main. Run: git switch main")
    check_tree(root)
    if git(root, "tag", "--list", f"v{version}"):
        raise Refused(f"The tag v{version} exists already. Choose the next version.")
    current = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    if current != version:
        raise Refused(f"pyproject.toml has the version {current}. Write {version} there.")
    check_wheels(root, version)
    if not (root / "tests" / "releases" / version / "names.json").is_file():
        raise Refused(f"tests/releases has no {version}. Run: python -m tests.releases")
    return changelog(root, version)


def check_wheels(root: Path, version: str) -> None:
    """Raise Refused if a README names the wheel of another version."""
    for page in sorted(root.glob("README*.md")):
        for found in re.findall(r"safelight-([\d.]+)-py3", page.read_text()):
            if found != version:
                raise Refused(f"{page.name} names the wheel of {found}. Write {version} there.")


def check_tree(root: Path) -> None:
    """Raise Refused if a file is changed or not tracked."""
    changed = [line[3:] for line in git(root, "status", "--porcelain", strip=False).splitlines()]
    if changed:
        raise Refused(f"{_listed(changed)}: not committed. Commit or remove it first.")


def changelog(root: Path, version: str) -> str:
    """Return the newest section of the changelog with its title. Raises Refused."""
    text = (root / "CHANGELOG.md").read_text()
    first, *_ = re.split(r"^## ", text, flags=re.MULTILINE)[1:] or [""]
    title, _, notes = first.partition("\n")
    name, _, day = title.partition(", ")
    if name != version:
        raise Refused(f"CHANGELOG.md begins with {title[:40]!r}. Add the section of {version}.")
    try:
        date.fromisoformat(day)
    except ValueError:
        today = date.today()
        raise Refused(f"CHANGELOG.md says {title!r}. Write: {version}, {today}") from None
    if "**What an operator must do.**" not in notes:
        raise Refused(f"CHANGELOG.md does not say what an operator must do for {version}. Add it.")
    return f"Safelight {title}\n\n{notes.strip()}\n"


def build(root: Path, version: str, folder: Path) -> tuple[Path, Path]:
    """Build the sdist, and the wheel from the sdist, so that the sdist is known to be complete."""
    run(root, sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder)
    sdist = folder / f"safelight-{version}.tar.gz"
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    source = folder / f"safelight-{version}"
    run(source, sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder)
    return folder / f"safelight-{version}-py3-none-any.whl", sdist


def wheel_problems(wheel: Path, root: Path, version: str) -> Iterator[str]:
    """Yield what is wrong with the wheel, in sentences."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        info = f"safelight-{version}.dist-info"
        raw = archive.read(f"{info}/METADATA")
        bill = archive.read(f"{info}/{_BILL}") if f"{info}/{_BILL}" in names else b"{}"
    wanted = {name.removeprefix("src/") for name in tracked(root, "src/safelight")}
    extra = {name for name in names - wanted if not name.startswith(f"{info}/")}
    yield from _differences("The wheel", wanted - names, extra)
    if f"{info}/licenses/LICENSE" not in names:
        yield "The wheel has no LICENSE. See license-files in pyproject.toml."
    if wheel.stat().st_size > _MAX_WHEEL_BYTES:
        yield f"The wheel has {wheel.stat().st_size / 1e6:.0f} MB. Remove what users do not need."
    if json.loads(bill).get("metadata", {}).get("component", {}).get("version") != version:
        yield f"The wheel has no bill of materials of {version}. Run: make constraints"
    yield from metadata_problems(raw, root, version)


def metadata_problems(raw: bytes, root: Path, version: str) -> Iterator[str]:
    """Yield what is wrong with the wheel's metadata, in sentences."""
    try:
        metadata = Metadata.from_email(raw, validate=True)
    except ExceptionGroup as group:
        yield f"The metadata is invalid: {group.exceptions[0]}. Correct pyproject.toml."
        return
    if (metadata.name, str(metadata.version)) != ("safelight", version):
        yield f"The metadata is of {metadata.name} {metadata.version}. Correct pyproject.toml."
    if (metadata.description or "").strip() != (root / "README.md").read_text().strip():
        yield "The description of the wheel is not README.md. Correct pyproject.toml."


def sdist_problems(sdist: Path, root: Path) -> Iterator[str]:
    """Yield what is wrong with the sdist, in sentences."""
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers()}
    missing = {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"} - names
    yield from _differences("The sdist", missing, names - tracked(root) - {"PKG-INFO"})


def _differences(what: str, missing: set[str], extra: set[str]) -> Iterator[str]:
    if missing:
        yield f"{what} lacks {_listed(missing)}. See hatch in pyproject.toml."
    if extra:
        yield f"{what} has {_listed(extra)}, which git does not have. Delete it."


def _listed(names: Iterable[str]) -> str:
    """Return the first names, and how many more there are."""
    first, *others = sorted(names)
    return f"{first} and {len(others)} more" if others else first


def tracked(root: Path, folder: str = ".") -> set[str]:
    """Return the files that git has."""
    return set(git(root, "ls-files", "-z", folder).strip("\0").split("\0"))


def keep(file: Path, folder: Path) -> Path:
    """Move a file to a folder; return its new place."""
    folder.mkdir(exist_ok=True)
    target = folder / file.name
    target.write_bytes(file.read_bytes())
    return target


def git(root: Path, *arguments: str, strip: bool = True) -> str:
    """Return the output of git. Raises Refused with its last line."""
    output = run(root, "git", *arguments)
    return output.strip() if strip else output


def run(folder: Path, *command: str | Path) -> str:
    """Return the output of a command. Raises Refused with its last line if it fails."""
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["it printed nothing"]
        raise Refused(f"{' '.join(words[:4])} failed: {last[0][:200]}")
    return done.stdout


def main(arguments: list[str]) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("version", nargs="?", default="", help="such as 0.2.0")
    parser.add_argument("--without-tests", action="store_true", help="for the test of this script")
    options = parser.parse_args(arguments)
    if not options.version:
        return refuse("Which version? Run: VERSION=0.2.0 make release")
    try:
        print(release(Path.cwd(), options.version, tested=not options.without_tests), end="")
    except Refused as refusal:
        return refuse(str(refusal))
    return 0


def refuse(text: str) -> int:
    """Print one line; return the exit code."""
    print(f"release: {text}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
