from pathlib import Path

from safelight.probes.cgroup import CgroupMemory, memory

STAT = "anon 100\nfile 50\ninactive_file 30\nactive_file 20\n"


def group(folder: Path, limit: str, used: int = 1000) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(STAT)


def own(folder: Path, text: str) -> Path:
    file = folder / "cgroup"
    file.write_text(text)
    return file


def test_a_container_uses_its_memory_without_the_inactive_file_cache(tmp_path: Path) -> None:
    group(tmp_path / "sys", "4000")
    expected = CgroupMemory(used=970, limit=4000)
    assert memory(tmp_path / "sys", own(tmp_path, "0::/\n")) == expected


def test_the_nearest_group_with_a_limit_counts(tmp_path: Path) -> None:
    root = tmp_path / "sys"
    group(root / "system.slice", "9000", used=5000)
    group(root / "system.slice" / "safelight.service", "max")
    file = own(tmp_path, "0::/system.slice/safelight.service\n")
    assert memory(root, file) == CgroupMemory(used=4970, limit=9000)


def test_without_a_limit_there_is_no_value(tmp_path: Path) -> None:
    group(tmp_path / "sys", "max")
    assert memory(tmp_path / "sys", own(tmp_path, "0::/\n")) is None


def test_without_cgroup_v2_there_is_no_value(tmp_path: Path) -> None:
    assert memory(tmp_path / "sys", own(tmp_path, "4:memory:/docker/1\n")) is None
    assert memory(tmp_path / "sys", tmp_path / "missing") is None


def test_a_damaged_file_gives_no_value(tmp_path: Path) -> None:
    group(tmp_path / "sys", "4000")
    (tmp_path / "sys" / "memory.stat").write_text("anon 5\n")
    assert memory(tmp_path / "sys", own(tmp_path, "0::/\n")) is None
