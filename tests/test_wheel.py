"""The wheel holds the package and nothing else, and runs from where it is installed.

The editable install that the other tests use sees the whole tree; only this file notices what does not ship.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: setuptools writes into the tree that it builds from."""
    folder = tmp_path_factory.mktemp("wheel")
    leave = shutil.ignore_patterns(".*", "*.egg-info", "__pycache__", "*.so", "build", "dist", "out", "runs", "clips")
    shutil.copytree(ROOT, folder / "tree", ignore=leave)
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-q"]
    done = subprocess.run([*pip, "-w", folder, folder / "tree"], capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts of a fresh environment with the wheel in it, and with the dependencies of this one."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(folder, with_pip=False, symlinks=True)
    paths = sysconfig.get_paths(vars={"base": str(folder), "platbase": str(folder)})
    # A .pth inside the added folder is not read: the editable install of this repository stays out.
    (Path(paths["purelib"]) / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    pip = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "-q"]
    options = ["--no-deps", "--no-index", "--ignore-installed"]
    done = subprocess.run([*pip, *options, wheel], capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    return folder / "bin"


def test_holds_every_file_of_the_rooms_and_nothing_else(wheel: Path) -> None:
    rooms = ("stream", "models", "nodes")
    files = [path for room in rooms for path in (ROOT / room).rglob("*.py*") if path.suffix in (".py", ".pyi")]
    files += [path for path in (ROOT / "models" / "pretrained").rglob("*") if path.is_file()]
    tables = ("foreign/known", "judging/label_maps", "recipes")
    files += [path for room in tables for path in (ROOT / "models" / room).glob("*.t*")]
    expected = {f"earwitness/{path.relative_to(ROOT)}" for path in files if "__pycache__" not in path.parts}
    shipped = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    compiled = {name for name in shipped if name.endswith(".so")}
    assert {name.split(".")[0] for name in compiled} == {
        f"earwitness/{path.relative_to(ROOT).with_suffix('')}" for path in (ROOT / "stream").rglob("*.c")
    }, "every C file is an extension of the wheel; a compiler was at hand"
    assert shipped - compiled == expected | {"earwitness/launch.py"}


def test_carries_its_licence_and_one_command(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    names = archive.namelist()
    assert [name for name in names if name.endswith(".dist-info/licenses/LICENSE")]
    (scripts,) = [name for name in names if name.endswith("entry_points.txt")]
    assert "earwitness = earwitness.launch:main" in archive.read(scripts).decode()


@pytest.mark.parametrize("command", ["python -m earwitness.launch", "earwitness"])
def test_runs_where_it_is_installed(installed: Path, tmp_path: Path, command: str) -> None:
    done = _run(installed, tmp_path, *command.split(), "--help")
    assert done.returncode == 0, done.stderr
    assert "run" in done.stdout


def test_is_imported_from_where_it_is_installed(installed: Path, tmp_path: Path) -> None:
    code = "from earwitness import launch, stream; print(launch.__file__, stream.__file__)"
    done = _run(installed, tmp_path, "python", "-c", code)
    assert done.stdout.count(str(installed.parent)) == 2, done.stderr


def test_hears_its_demo_with_the_model_in_the_box(installed: Path, tmp_path: Path) -> None:
    done = _run(installed, tmp_path, "earwitness", "run", "--source", "demo", "--pace", "max", "--json")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line for line in lines if line["event"] == "truth" and line["result"] == "heard"]
    assert lines[-1]["event"] == "ledger"
    assert lines[-1]["balanced"]


def _run(scripts: Path, folder: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(scripts / program), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=110)
