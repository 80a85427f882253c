"""Laws 1 and 2, read from the sources: imports run one way, and what is heavy stays under models/.

`make lint` checks the layers with import-linter too; these tests hold what its contracts cannot say.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAY_IMPORT = {
    "stream": ("earwitness.stream",),
    "models": ("earwitness.stream", "earwitness.models"),
    "nodes": (
        "earwitness.nodes",
        "earwitness.stream",
        "earwitness.models.bundle",
        "earwitness.models.runtime",
    ),
}
HEAVY = {"torch", "torchaudio", "librosa"}
SOURCES = sorted(path for room in MAY_IMPORT for path in (ROOT / room).rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_only_what_its_room_may(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    ours = [name for name, _ in _imports(path) if name.split(".")[0] == "earwitness"]
    wrong = [name for name in ours if not _within(name, MAY_IMPORT[room])]
    assert not wrong, f"{room}/ may import {', '.join(MAY_IMPORT[room])}"


@pytest.mark.parametrize("path", sorted((ROOT / "nodes").glob("*.py")), ids=lambda path: path.name)
def test_a_node_imports_no_other_node(path: Path) -> None:
    others = {f"earwitness.nodes.{other.stem}" for other in _nodes() if other != path}
    wrong = {name for name, _ in _imports(path) if _within(name, tuple(others))}
    assert not wrong


@pytest.mark.parametrize("path", [ROOT / "launch.py", *SOURCES], ids=lambda path: str(path.relative_to(ROOT)))
def test_torch_and_librosa_stay_under_models(path: Path) -> None:
    if path.relative_to(ROOT).parts[0] != "models":
        assert not HEAVY & {name.split(".")[0] for name, _ in _imports(path)}


def test_what_a_live_pipeline_imports_loads_neither_torch_nor_librosa() -> None:
    modules = [name for name in map(_module, SOURCES) if _within(name, MAY_IMPORT["nodes"])]
    code = (
        f"import importlib, sys\nfor name in {modules}: importlib.import_module(name)\n"
        f"print(sorted({HEAVY} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_onnxruntime_is_told_to_report_nothing_to_its_maker(tmp_path: Path) -> None:
    """Where it is not told, version 1.31 leaves an identifier in the temporary folder and the cache as it loads."""
    code = "import earwitness.stream, onnxruntime"
    places = {"TMPDIR": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path)}
    environment = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"} | places
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=100)
    assert not list(tmp_path.rglob("*"))
    for path in SOURCES:
        names = [name.split(".") for name, _ in _imports(path)]
        if ["onnxruntime"] in [name[:1] for name in names]:
            assert ["earwitness", "stream"] in [name[:2] for name in names], f"{path.name} imports it, but not stream"


def test_the_command_line_imports_inside_its_functions_only() -> None:
    at_the_top = {name.split(".")[0] for name, depth in _imports(ROOT / "launch.py") if depth == 0}
    heavy = at_the_top - sys.stdlib_module_names - {"typer"}
    assert not heavy, "`--help` is instant because launch.py imports these where it uses them"


def _nodes() -> list[Path]:
    """The files of nodes/ that are run as a process: those that say so themselves at the end."""
    return [path for path in (ROOT / "nodes").glob("*.py") if '__name__ == "__main__"' in path.read_text()]


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("earwitness", *(parts[:-1] if parts[-1] == "__init__" else parts)))


def _within(name: str, allowed: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in allowed)


def _imports(path: Path) -> Iterator[tuple[str, int]]:
    """(absolute name, depth) of what a file imports when it is imported or used; depth 0 is outside of functions."""
    package = _module(path).split(".") if path.name == "__init__.py" else _module(path).split(".")[:-1]
    todo: list[tuple[ast.AST, int]] = [(ast.parse(path.read_text(), str(path)), 0)]
    while todo:
        node, depth = todo.pop()
        if isinstance(node, ast.If) and {"TYPE_CHECKING", "__name__"} & {ast.unparse(n) for n in ast.walk(node.test)}:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, depth) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*parents, *filter(None, [node.module])])
            yield from ((f"{base}.{alias.name}", depth) for alias in node.names)
        inner = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        todo.extend((child, depth + inner) for child in ast.iter_child_nodes(node))
