import subprocess
import sys
from pathlib import Path

import pytest

from safelight.errors import MissingExtra
from safelight.models.backend import ModelOrder, shown_name
from safelight.models.load import load_backend


def test_a_folder_is_shown_by_its_last_part(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    assert shown_name(str(tmp_path / "mine")) == "mine"


def test_a_hub_id_is_shown_as_it_is() -> None:
    assert shown_name("timbrooks/instruct-pix2pix") == "timbrooks/instruct-pix2pix"


def test_importing_the_room_does_not_import_torch() -> None:
    program = "import sys, safelight.models.load; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_without_the_extra_the_sign_on_the_door_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "safelight.models.families", None)
    with pytest.raises(MissingExtra, match=r"pip install 'safelight\[models\]'"):
        load_backend(ModelOrder("demo-edit", "cpu", "float32"))
