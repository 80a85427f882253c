"""Sounds and programs for the live tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import soundfile

from earwitness.stream.sources.demo import RATE, make_scene
from earwitness.tests.live.program import Program

Start = Callable[..., Program]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts `earwitness run --json --out tmp_path/out ARGS`; whatever still runs at the end is ended."""
    with ExitStack() as programs:

        def start(*args: str | Path, out: str = "out", **options: object) -> Program:
            program = Program("--json", "--out", tmp_path / out, *args, cwd=tmp_path, **options)  # type: ignore[arg-type]
            return programs.enter_context(program)

        yield start


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten seconds of the demo's scene as a WAV file."""
    path = tmp_path_factory.mktemp("sounds") / "scene.wav"
    soundfile.write(path, make_scene().samples[: 10 * RATE], RATE, subtype="PCM_16")
    return path
