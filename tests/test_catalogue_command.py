"""`homeroom catalogue`: what an operator who changes the types has to go by."""

import json
from pathlib import Path

from tests.processes import homeroom

ROOM = '[types.Room]\nschool_year = "none"\nid_format = "code"\naudience = "owner"\n'


def test_a_catalogue_that_ships_is_copied_whole_and_can_be_changed(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    homeroom("catalogue", "copy", "alberta", str(folder))
    file = folder / "catalogue.toml"
    file.write_text(file.read_text() + ROOM)
    mine, shipped = (
        json.loads(homeroom("catalogue", "check", each, "--json").stdout) for each in (str(file), "alberta")
    )
    assert len(shipped) == 27
    assert [each["notificationType"] for each in mine if each not in shipped] == ["Room"]


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    done = homeroom("catalogue", "copy", "roster", str(tmp_path / "mine"), check=False)
    assert (done.returncode, list((tmp_path / "mine").iterdir())) == (1, [])
    done = homeroom("catalogue", "copy", "../roster", str(tmp_path / "other"), check=False)
    assert (done.returncode, (tmp_path / "other").exists()) == (1, False)
    assert "alberta and roster" in done.stderr


def test_rules_that_cannot_be_loaded_are_a_fault_among_others(tmp_path: Path) -> None:
    (tmp_path / "catalogue.toml").write_text(ROOM + 'status = "broken_rules"\ncolour = "red"\n')
    (tmp_path / "broken_rules.py").write_text("RULES = (")
    done = homeroom("catalogue", "check", str(tmp_path / "catalogue.toml"), check=False, PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert "types.Room.status" in done.stderr
    assert "SyntaxError" in done.stderr
    assert "types.Room.colour: unknown" in done.stderr
    assert "Traceback" not in done.stderr
