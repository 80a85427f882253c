"""The examples in docstrings run, wherever one is written."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = [path for room in ("stream", "models", "nodes") for path in (ROOT / room).rglob("*.py")]
WITH_EXAMPLES = sorted(path for path in SOURCES if ">>> " in path.read_text())


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_examples_of(path: Path) -> None:
    source = path.read_text()
    for optional in ("torch", "librosa"):
        if f"import {optional}" in source:
            pytest.importorskip(optional)
    module = importlib.import_module("earwitness." + ".".join(path.relative_to(ROOT).with_suffix("").parts))
    results = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert results.attempted
    assert not results.failed
