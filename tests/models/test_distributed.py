"""Real processes, joined by gloo on this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs torch (extra train)")

from torch import Tensor  # noqa: E402

from earwitness.models.checkpoints import load_weights  # noqa: E402
from earwitness.models.distributed import World, joined  # noqa: E402

SCRIPT = Path(__file__).with_name("one_of_two.py")


def train(out: Path, processes: int, draws: int = 1, steps: int = 6) -> list[dict[str, Tensor]]:
    """The weights that each process ends with."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = []
    for rank in range(processes):
        world = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "MASTER_PORT": port}
        environment = os.environ | {name: str(value) for name, value in world.items()} | {"MASTER_ADDR": "127.0.0.1"}
        command = [sys.executable, str(SCRIPT), str(out), str(draws), str(steps)]
        started.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    try:
        for process in started:
            told = process.communicate()[1]
            assert process.returncode == 0, told
    finally:
        for process in started:
            process.kill()
    return [load_weights(out.with_suffix(f".{rank}")) for rank in range(processes)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    return train(tmp_path_factory.mktemp("alone") / "one", 1)[0]


def test_two_processes_give_the_result_of_one_on_the_same_batch(tmp_path: Path, alone: dict[str, Tensor]) -> None:
    first, second = train(tmp_path / "two", 2)
    for name, value in alone.items():
        torch.testing.assert_close(
            first[name], value, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name} {text}"
        )
        assert torch.equal(first[name], second[name])


def test_so_do_two_that_draw_a_part_each(tmp_path: Path) -> None:
    (alone,) = train(tmp_path / "one", 1, draws=2)
    first, _ = train(tmp_path / "two", 2, draws=2)
    for name, value in alone.items():
        torch.testing.assert_close(first[name], value, rtol=1e-4, atol=1e-5)


def test_all_stop_early_together(tmp_path: Path) -> None:
    weights = train(tmp_path / "two", 2, steps=50)
    assert [float(each["steps"]) for each in weights] == [10.0, 10.0]


def test_a_process_that_nothing_has_started_with_others_is_alone() -> None:
    with joined("cpu") as world:
        assert world == World(rank=0, size=1, device="cpu")
        assert world.is_first
        assert world.agreed(0.3) == 0.3
