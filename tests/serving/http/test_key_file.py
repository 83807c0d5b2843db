"""A file of keys that changes while the service runs."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog

from safelight.errors import BadSetting
from safelight.serving.http.key_file import CHECK_SECONDS, LIMIT_BYTES, LIMIT_KEYS, KeyFile
from safelight.serving.http.keys import hashed, new_key

ANNA, BEN = f"anna={hashed('sl-anna')}", f"ben={hashed('sl-ben')}"


class Watched:
    """A key file, the clock that it reads, and what it counted."""

    def __init__(self, path: Path) -> None:
        self.now, self.failures = 0.0, 0
        self.file = KeyFile(path, self._fail, clock=lambda: self.now)

    def names(self) -> list[str]:
        """Return the names that are valid when it is time to look again."""
        self.now += CHECK_SECONDS
        return [key.name for key in self.file.valid()]

    def _fail(self) -> None:
        self.failures += 1


def written(folder: Path, text: str) -> Path:
    path = folder / "keys"
    path.write_text(text)
    return path


def replace(path: Path, text: str) -> None:
    new = path.with_name("new")
    new.write_text(text)
    new.rename(path)


def rewrite(path: Path, text: str) -> None:
    path.write_text(text)


@pytest.mark.parametrize("change", [replace, rewrite])
def test_a_key_is_revoked_without_a_restart(
    change: Callable[[Path, str], None], tmp_path: Path
) -> None:
    path = written(tmp_path, f"{ANNA}\n{BEN}\n")
    watched = Watched(path)
    assert watched.names() == ["anna", "ben"]
    change(path, f"{BEN}\n")
    assert watched.names() == ["ben"]
    change(path, "")
    assert watched.names() == [], "an empty file revokes the last key"
    assert watched.failures == 0


def test_a_secret_of_kubernetes_that_is_swapped_is_read_again(tmp_path: Path) -> None:
    for version, text in (("..1", ANNA), ("..2", BEN)):
        (tmp_path / version).mkdir()
        (tmp_path / version / "api_keys").write_text(text)
        os.utime(tmp_path / version / "api_keys", (1, 1))  # the time alone would not differ
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "api_keys").symlink_to("..data/api_keys")
    watched = Watched(tmp_path / "api_keys")
    assert watched.names() == ["anna"]
    (tmp_path / "..data_tmp").symlink_to("..2")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    assert watched.names() == ["ben"]


def test_the_file_is_looked_at_once_a_second_at_most(tmp_path: Path) -> None:
    path = written(tmp_path, ANNA)
    watched = Watched(path)
    watched.names()
    replace(path, BEN)
    assert [key.name for key in watched.file.valid()] == ["anna"]
    assert watched.names() == ["ben"]


SECRET = new_key()
BROKEN = {
    "a plain key": f"anna={SECRET}".encode(),
    "no hash": b"anna",
    "an unknown scope": f"anna:all={hashed('x')}".encode(),
    "not text": b"\xff\xfe\x00",
    "too long": b"#" * (LIMIT_BYTES + 1),
    "too many": "\n".join([ANNA] * (LIMIT_KEYS + 1)).encode(),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_a_broken_file_keeps_the_old_keys_and_is_counted_and_logged_once(
    content: bytes, tmp_path: Path
) -> None:
    path = written(tmp_path, ANNA)
    watched = Watched(path)
    path.write_bytes(content)
    with structlog.testing.capture_logs() as lines:
        assert [watched.names() for _ in range(3)] == [["anna"]] * 3
    assert watched.failures == 3
    assert [line["log_level"] for line in lines] == ["error"]
    assert SECRET not in str(lines)
    path.write_text(BEN)
    assert watched.names() == ["ben"]
    assert watched.failures == 3


def test_a_file_that_disappears_keeps_the_old_keys(tmp_path: Path) -> None:
    path = written(tmp_path, ANNA)
    watched = Watched(path)
    path.unlink()
    assert watched.names() == ["anna"]
    assert watched.failures == 1
    path.mkdir()
    assert watched.names() == ["anna"]
    path.rmdir()
    os.mkfifo(path)  # to open it would block the service for ever
    assert watched.names() == ["anna"]
    assert watched.failures == 3


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_a_service_does_not_start_with_a_broken_file(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_bytes(content)
    with pytest.raises(BadSetting, match="SAFELIGHT_API_KEYS_FILE") as refused:
        Watched(path)
    assert SECRET not in str(refused.value)


def test_a_service_does_not_start_without_its_file(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="No such file"):
        Watched(tmp_path / "missing")
