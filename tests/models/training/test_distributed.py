"""Real processes, joined by gloo on this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs torch (extra train)")

from torch import Tensor  # noqa: E402

from earwitness.models.training.checkpoints import load_weights  # noqa: E402
from earwitness.models.training.distributed import World, joined  # noqa: E402

from .one_of_two import RUNS, train  # noqa: E402

SCRIPT = Path(__file__).with_name("one_of_two.py")

Weights = dict[str, Tensor]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def together(folder: Path) -> dict[str, list[Weights]]:
    """What each of two processes ends each run with."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with ExitStack() as stack:
        processes = []
        for rank in range(2):
            world = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_PORT": port, "MASTER_ADDR": "127.0.0.1"}
            environment = os.environ | {name: str(value) for name, value in world.items()}
            process = subprocess.Popen([sys.executable, str(SCRIPT), str(folder)], env=environment)
            processes.append(stack.enter_context(process))
            stack.callback(process.kill)
        assert [process.wait() for process in processes] == [0, 0]
    return {run: [load_weights(folder / f"{run}.{rank}") for rank in range(2)] for run in RUNS}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("run", ["whole", "shared"])
def test_two_processes_give_the_result_of_one_on_the_same_batch(
    folder: Path, together: dict[str, list[Weights]], run: str
) -> None:
    alone = train(folder, run, World())
    first, second = together[run]
    for name, value in alone.items():
        torch.testing.assert_close(first[name], value.float(), rtol=1e-4, atol=1e-5, check_dtype=False)
        assert torch.equal(first[name], second[name])


@pytest.mark.timeout(900)
def test_all_stop_early_together(together: dict[str, list[Weights]]) -> None:
    assert [float(weights["steps"]) for weights in together["long"]] == [10.0, 10.0]


def test_a_process_that_nothing_has_started_with_others_is_alone() -> None:
    with joined("cpu") as world:
        assert world == World(rank=0, size=1, device="cpu")
        assert world.is_first
        assert world.agreed(0.3) == 0.3
