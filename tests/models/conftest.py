"""A tiny bundle, made once: an untrained network with two classes and the background."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from earwitness.models.bundle import Bundle, Input, Manifest, Network, Output, write_bundle
from earwitness.stream.features.frontend import FrontEndSpec

LABELS = ["high", "low", "background"]
NETWORK = {"channels": [4, 8], "depth": [1]}


def manifest(**changes: Any) -> Manifest:
    fields: dict[str, Any] = {
        "format_version": 1,
        "name": "tiny",
        "description": 'two "tones"\nand nothing else',
        "licence": "CC0",
        "labels": LABELS,
        "background": "background",
        "window_frames": 32,
        "hop_frames": 8,
        "front_end": FrontEndSpec(),
        "input": Input(name="windows", shape=[0, 32, 64]),
        "output": Output(name="logits", activation="softmax", temperature=1.5),
        "thresholds": {"high": 0.5, "low": 0.6},
        "network": Network(kind="cnn", options=NETWORK),
    }
    return Manifest(**{**fields, **changes})


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The tiny bundle; not to be changed."""
    torch = pytest.importorskip("torch", reason="bundles are made with torch (extra train)")
    from earwitness.models.export import to_onnx
    from earwitness.models.networks.registry import build_network, for_use

    torch.manual_seed(0)
    network = build_network("cnn", (32, 64), len(LABELS), NETWORK)
    files = to_onnx(for_use(network), (32, 64)) | {"CREDITS.txt": b"nobody\n"}
    return write_bundle(tmp_path_factory.mktemp("bundles") / "tiny", manifest(), files)


@pytest.fixture
def folder(made: Bundle, tmp_path: Path) -> Path:
    """A copy of the tiny bundle that a test may spoil."""
    return Path(shutil.copytree(made.path, tmp_path / "tiny"))


@pytest.fixture(scope="session")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with the data set `tones`; not to be changed."""
    from .scene import write_data

    return write_data(tmp_path_factory.mktemp("data") / "root")


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """torch with a single thread: on small networks, threads wait for each other longer than they work."""
    torch = pytest.importorskip("torch", reason="networks are built with torch (extra train)")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
