"""`make release` in a repository of its own: it builds, checks and tags, or refuses in one line."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts import release
from scripts.release import Refused, metadata_problems, sdist_problems, wheel_problems

ROOT = Path(__file__).parents[2]
VERSION = "7.8.9"
OLD = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
SECTION = f"## {VERSION}, 2030-01-31\n\n**What an operator must do.** Nothing.\n\n# Not a comment\n"


@dataclass(frozen=True)
class Repository:
    """A copy of this working tree that is ready for the release of a version."""

    folder: Path

    def git(self, *arguments: str) -> str:
        name = ("-c", "user.name=tests", "-c", "user.email=tests@example.org")
        command = ["git", *name, *arguments]
        return subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, check=True
        ).stdout

    def commit(self) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--no-verify", "--message", "Prepare")

    def edit(self, name: str, old: str, new: str) -> None:
        file = self.folder / name
        text = file.read_text()
        assert old in text, name
        file.write_text(text.replace(old, new))

    def release(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        script = self.folder / "scripts" / "release.py"
        return subprocess.run(
            [sys.executable, script, *arguments], cwd=self.folder, capture_output=True, text=True
        )

    def refusal(self, version: str = VERSION) -> str:
        """Return the one line with which a release is refused, after which nothing has changed."""
        done = self.release(version, "--without-tests")
        assert (done.returncode, done.stdout) == (1, "")
        [line] = done.stderr.splitlines()
        assert not (self.folder / "dist").exists()
        return line.removeprefix("release: ")


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    folder = tmp_path_factory.mktemp("release") / "safelight"
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True)
    for name in done.stdout.strip("\0").split("\0"):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    repository = Repository(folder)
    repository.git("init", "--quiet", "--initial-branch=main")
    repository.git("config", "user.name", "tests")
    repository.git("config", "user.email", "tests@example.org")
    repository.edit("pyproject.toml", f'version = "{OLD}"', f'version = "{VERSION}"')
    for page in ("README.md", "README.zh-CN.md"):
        repository.edit(page, f"safelight-{OLD}-py3", f"safelight-{VERSION}-py3")
    repository.edit("sbom.cdx.json", f'"version": "{OLD}"\n', f'"version": "{VERSION}"\n')
    text = (folder / "CHANGELOG.md").read_text()
    head, _, rest = text.partition("## ")
    (folder / "CHANGELOG.md").write_text(f"{head}{SECTION}\n## {rest}")
    shutil.copytree(folder / "tests" / "releases" / OLD, folder / "tests" / "releases" / VERSION)
    repository.commit()
    return repository


@pytest.fixture
def repository(ready: Repository) -> Repository:
    """Return the repository as it was at first."""
    ready.git("switch", "--quiet", "--force", "main")
    first = ready.git("rev-list", "--max-parents=0", "HEAD").strip()
    ready.git("reset", "--quiet", "--hard", first)
    ready.git("clean", "--quiet", "-ffdx")
    for tag in ready.git("tag", "--list").split():
        ready.git("tag", "--delete", tag)
    return ready


def test_a_release_is_built_and_tagged_and_says_what_is_next(repository: Repository) -> None:
    done = repository.release(VERSION, "--without-tests")

    assert (done.returncode, done.stderr) == (0, "")
    assert f"git push origin main v{VERSION}" in done.stdout
    assert "Nothing is published" in done.stdout
    assert repository.git("cat-file", "-t", f"v{VERSION}") == "tag\n"
    message = repository.git("tag", "--list", "--format=%(contents)", f"v{VERSION}")
    assert message.startswith(f"Safelight {VERSION}, 2030-01-31\n\n**What an operator must do.**")
    assert "# Not a comment" in message
    assert OLD not in message, "only the section of this version"
    assert repository.git("status", "--porcelain") == ""
    [wheel], [sdist] = (
        list((repository.folder / "dist").glob(f"*.{end}")) for end in ("whl", "gz")
    )
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        text = archive.read(f"safelight-{VERSION}.dist-info/METADATA").decode()
    assert f"\nVersion: {VERSION}\n" in text
    assert {name.split("/")[0] for name in names} == {"safelight", f"safelight-{VERSION}.dist-info"}
    assert f"safelight-{VERSION}.dist-info/sboms/sbom.cdx.json" in names
    with tarfile.open(sdist) as archive:
        assert f"safelight-{VERSION}/src/safelight/settings.py" in archive.getnames()

    again = repository.release(VERSION, "--without-tests")
    assert again.returncode == 1
    assert again.stderr == f"release: The tag v{VERSION} exists already. Choose the next version.\n"


def test_two_builds_of_one_commit_have_the_same_bytes(
    repository: Repository, tmp_path: Path
) -> None:
    copy = tmp_path / "somewhere else"
    repository.git("clone", "--quiet", ".", str(copy))
    for file in copy.rglob("*.py"):
        os.utime(file, (10**9, 10**9))
        file.chmod(0o600)
    builds: list[list[bytes]] = []
    for folder in (repository.folder, copy):
        target = tmp_path / f"built-{len(builds)}"
        target.mkdir()
        builds.append([file.read_bytes() for file in release.build(folder, VERSION, target)])

    (wheel, sdist), (second_wheel, second_sdist) = builds
    assert wheel == second_wheel
    assert sdist == second_sdist


CHANGES: list[tuple[Callable[[Repository], object], str]] = [
    (
        lambda it: it.git("switch", "--quiet", "--create", "topic"),
        "This is topic, not main. Run: git switch main",
    ),
    (
        lambda it: it.git("switch", "--quiet", "--detach"),
        "This is no branch, not main. Run: git switch main",
    ),
    (
        lambda it: (it.folder / "new.py").write_text(""),
        "new.py: not committed. Commit or remove it first.",
    ),
    (
        lambda it: [(it.folder / name).write_text("") for name in ("README.md", "x")],
        "README.md and 1 more: not committed. Commit or remove it first.",
    ),
    (lambda it: it.git("tag", f"v{VERSION}"), f"The tag v{VERSION} exists already."),
    (
        lambda it: it.edit("pyproject.toml", f'version = "{VERSION}"', 'version = "7.8.8"'),
        f"pyproject.toml has the version 7.8.8. Write {VERSION} there.",
    ),
    (
        lambda it: it.edit("README.md", f"safelight-{VERSION}-py3", "safelight-7.8.8-py3"),
        f"README.md names the wheel of 7.8.8. Write {VERSION} there.",
    ),
    (
        lambda it: it.edit("README.zh-CN.md", f"safelight-{VERSION}-py3", "safelight-7.8.8-py3"),
        f"README.zh-CN.md names the wheel of 7.8.8. Write {VERSION} there.",
    ),
    (
        lambda it: shutil.rmtree(it.folder / "tests" / "releases" / VERSION),
        f"tests/releases has no {VERSION}. Run: python -m tests.releases",
    ),
    (
        lambda it: it.edit("CHANGELOG.md", f"## {VERSION}, 2030", "## 7.8.8, 2030"),
        f"CHANGELOG.md begins with '7.8.8, 2030-01-31'. Add the section of {VERSION}.",
    ),
    (
        lambda it: it.edit("CHANGELOG.md", f"{VERSION}, 2030-01-31", f"{VERSION}, unreleased"),
        f"CHANGELOG.md says '{VERSION}, unreleased'. Write: {VERSION}, 20",
    ),
    (
        lambda it: it.edit("CHANGELOG.md", "**What an operator must do.** Nothing.", "Nothing."),
        f"CHANGELOG.md does not say what an operator must do for {VERSION}. Add it.",
    ),
]


@pytest.mark.parametrize(("change", "message"), CHANGES, ids=[text[:30] for _, text in CHANGES])
def test_what_is_not_ready_is_refused_in_one_line(
    change: Callable[[Repository], object], message: str, repository: Repository
) -> None:
    change(repository)
    if "not committed" not in message and repository.git("status", "--porcelain"):
        repository.commit()
    assert repository.refusal().startswith(message)


def test_a_version_is_needed(repository: Repository) -> None:
    assert repository.refusal("0.2").startswith("'0.2' is not a version. Write it like 0.2.0.")
    done = repository.release()
    assert (done.returncode, "VERSION=0.2.0 make release" in done.stderr) == (1, True)


def test_a_failed_test_stops_the_release(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "TESTS", ((sys.executable, "-c", "raise SystemExit(3)"),))
    with pytest.raises(Refused, match=r"failed\. Correct it, commit, and try again\."):
        release.release(repository.folder, VERSION)
    monkeypatch.setattr(release, "TESTS", (("touch", "left.txt"),))
    with pytest.raises(Refused, match=r"left\.txt: not committed"):
        release.release(repository.folder, VERSION)
    assert repository.git("tag", "--list") == ""


def test_the_tests_of_a_release_are_those_of_the_project() -> None:
    assert ("make", "test") in release.TESTS
    assert (sys.executable, "-m", "scripts.wheels") in release.TESTS
    assert "scripts/release.py $(VERSION)\n" in (ROOT / "Makefile").read_text()


def test_a_wheel_with_missing_or_foreign_files_or_metadata_is_found(
    repository: Repository, tmp_path: Path
) -> None:
    wheel = tmp_path / f"safelight-{VERSION}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in release.tracked(repository.folder, "src/safelight"):
            if not name.endswith("py.typed"):
                archive.writestr(name.removeprefix("src/"), "")
        archive.writestr("tests/secret.py", "")
        archive.writestr(f"safelight-{VERSION}.dist-info/METADATA", "Name: other\nVersion: 1\n")
    problems = " ".join(wheel_problems(wheel, repository.folder, VERSION))
    assert "The wheel lacks safelight/py.typed." in problems
    assert "The wheel has tests/secret.py, which git does not have." in problems
    assert "The wheel has no LICENSE." in problems
    assert f"The wheel has no bill of materials of {VERSION}. Run: make constraints" in problems
    assert "The metadata is invalid" in problems
    valid = b"Metadata-Version: 2.4\nName: other\nVersion: 1.0\n\nHello"
    assert re.findall(
        "of other 1.0|is not README", " ".join(metadata_problems(valid, repository.folder, VERSION))
    ) == ["of other 1.0", "is not README"]


def test_an_sdist_with_files_that_git_does_not_have_is_found(
    repository: Repository, tmp_path: Path
) -> None:
    sdist = tmp_path / "sdist.tar.gz"
    with tarfile.open(sdist, "w:gz") as archive:
        for name in ("README.md", "LICENSE", "pyproject.toml", "CHANGELOG.md"):
            archive.add(repository.folder / name, f"safelight-{VERSION}/{name}")
        archive.add(__file__, f"safelight-{VERSION}/.state/records.db")
    assert list(sdist_problems(sdist, repository.folder)) == [
        "The sdist has .state/records.db, which git does not have. Delete it."
    ]
