"""The project file tells the truth about the tree."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ROOMS = ("stream", "models", "nodes")


def test_the_package_list_names_every_package_of_the_tree_and_no_other() -> None:
    found = {"earwitness"}
    for room in ROOMS:
        for marker in (ROOT / room).rglob("__init__.py"):
            found.add(".".join(("earwitness", *marker.parent.relative_to(ROOT).parts)))
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == found


def test_every_folder_with_code_is_a_package() -> None:
    bare = {
        str(path.parent.relative_to(ROOT))
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
        if not (path.parent / "__init__.py").exists()
    }
    assert not bare, "no __init__.py in these, so they do not ship"


def test_launch_is_the_only_module_at_the_root() -> None:
    assert [path.name for path in ROOT.glob("*.py")] == ["launch.py"], "every .py at the root ships"


def test_every_requirement_has_a_pinned_version() -> None:
    project = PROJECT["project"]
    wanted = sum(project["optional-dependencies"].values(), project["dependencies"])
    pinned = re.findall(r"^([a-z0-9-]+)==\S+$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert {_name(requirement) for requirement in wanted} <= set(pinned)


def test_the_live_pipeline_requires_neither_torch_nor_librosa() -> None:
    names = {_name(requirement) for requirement in PROJECT["project"]["dependencies"]}
    assert not names & {"torch", "torchaudio", "librosa"}


def test_the_makefile_has_the_five_targets() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(targets) == {"run", "test", "lint", "bench", "clean"}


def _name(requirement: str) -> str:
    return re.split(r"[^a-z0-9-]", requirement.lower())[0]
