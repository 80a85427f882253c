"""The parts of the models' measurements that can be held to a known answer; figures are for docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from earwitness.models.bundle import Bundle
from earwitness.models.training.recipe import recipe_named
from earwitness.stream.errors import EarwitnessError

pytest.importorskip("torch", reason="models are measured in torch too (extra train)")
from earwitness.models.bench import model_cases, models
from earwitness.models.bench.model_cases import (
    BATCHES,
    FP32,
    FRONT_END,
    INT8,
    LITERT,
    TORCH,
    case_of,
    cases_of,
    contenders,
    untrained,
    windows_of_streams,
)
from earwitness.models.bench.models import Figures

MODELS = {
    "windowed": {"hop_s": 0.25, "window_s": 0.982, "goes_on": False, "parameters": 1234, "remark": ""},
    "going": {"hop_s": 0.1, "window_s": 0.122, "goes_on": True, "parameters": 5, "remark": "untrained"},
    "yamnet": {"hop_s": 0.5, "window_s": 0.975, "goes_on": False, "parameters": 0, "remark": ""},
}


def figures(**others: Any) -> Figures:
    """A decision of ours takes 1 ms and its sound 0.5 ms, YAMNet's 12 ms; in the second round half of that."""
    costs = {case_of("yamnet", LITERT, 1): 0.012}
    for model in ("windowed", "going"):
        costs |= {case_of(model, runtime, batch): 0.001 for runtime in (TORCH, FP32, INT8) for batch in BATCHES}
        costs |= {case_of(model, FRONT_END, batch): 0.0005 for batch in BATCHES}
    half = {case: cost / 2 for case, cost in costs.items()}
    return Figures(**{"models": MODELS, "missing": {}, "rounds": [costs, half], **others})


def without_yamnet() -> Figures:
    ours = [{case: cost for case, cost in costs.items() if "yamnet" not in case} for costs in figures().rounds]
    models = {name: told for name, told in MODELS.items() if name != "yamnet"}
    return figures(models=models, missing={"yamnet": "it is not here (earwitness models add yamnet)"}, rounds=ours)


def table(lines: Iterator[str]) -> dict[str, list[str]]:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return {row[0]: row[1:] for row in rows}


def test_a_decision_is_told_in_milliseconds_and_as_so_many_a_second() -> None:
    told = figures()
    milliseconds = table(models.cost_lines(told, lambda case: f"{told.ms(case):.3f}"))
    assert milliseconds[f"windowed, {FP32}"] == ["0.750"] * 4
    assert milliseconds[f"yamnet, {LITERT}"] == ["9.000", "", "", ""]
    assert set(milliseconds) >= {f"{model}, {runtime}" for model in ("windowed", "going") for runtime in (TORCH, INT8)}
    assert "| 1,333 | 1,333 | 1,333 | 1,333 |" in "\n".join(models.model_lines(told))


def test_the_front_end_counts_for_as_much_sound_as_a_decision_adds() -> None:
    told = figures()
    assert told.per_decision("windowed", FP32, 16, 0.25) == pytest.approx(12 / 1.5)
    assert told.per_decision("windowed", FP32, 16, 0.5) == pytest.approx(12 / 2)


def test_a_model_that_decides_twice_as_often_costs_twice_as_much_a_second() -> None:
    assert figures().per_second("windowed", FP32, 1) == pytest.approx(12 / 1.5 / 2)


def test_each_goal_is_told_with_its_figures_and_what_misses_it_is_bold() -> None:
    rows = table(models.goal_lines(figures()))
    assert rows[f"windowed, {FP32}: a second of sound, a decision every 0.5 s by both"] == [">= 5", *["6.00"] * 4]
    own = f"windowed, {INT8}: a second of sound, every 0.25 s by ours, every 0.5 s by YAMNet"
    assert rows[own] == [">= 5", *["**4.00**"] * 4]
    going = f"going, {FP32}: a decision every 0.1 s, beside a window of YAMNet's as often"
    assert rows[going] == [">= 10", *["**8.00**"] * 4]


def test_without_yamnet_ours_are_told_and_how_to_get_it() -> None:
    lines = list(models.model_lines(without_yamnet()))
    assert "Not measured: yamnet, it is not here (earwitness models add yamnet)." in lines
    assert any(line.startswith(f"| windowed, {FP32} | 0.750") for line in lines)
    assert "There is nothing to compare with: YAMNet was not measured." in lines


def test_who_takes_part_is_told_with_what_a_decision_is() -> None:
    rows = table(models.contender_lines(figures()))
    assert rows["windowed"] == ["1,234", "a window of 0.982 s", "0.25 s", ""]
    assert rows["going"] == ["5", "a hop", "0.1 s", "untrained"]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_cases, "BATCHES", (1, 3))


@pytest.fixture(scope="module")
def going(made: Bundle) -> Bundle:
    """A small bundle that carries states."""
    recipe = recipe_named("esc50-stream", {"network.hop_frames": 4})
    return untrained(recipe, ["a", "b"])


@pytest.mark.usefixtures("few", "one_thread")
@pytest.mark.parametrize("which", ["made", "going"])
def test_every_case_of_a_bundle_works_and_tells_how_many_decisions_that_were(
    which: str, request: pytest.FixtureRequest
) -> None:
    bundle: Bundle = request.getfixturevalue(which)
    cases = dict(cases_of(bundle))
    whats = (TORCH, FP32, INT8, FRONT_END)
    assert set(cases) == {case_of(bundle.manifest.name, what, batch) for what in whats for batch in (1, 3)}
    for name, make in cases.items():
        step = make()
        assert (step(), step()) == (int(name[-1]),) * 2, name


def test_a_bundle_in_integers_has_no_other_runtime(made: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_cases, "BATCHES", (1,))
    cases = dict(cases_of(model_cases.in_integers(made)))
    assert set(cases) == {case_of("tiny", INT8, 1), case_of("tiny", FRONT_END, 1)}


def test_goals_are_told_of_the_runtimes_that_were_measured() -> None:
    alone = [{case: cost for case, cost in costs.items() if FP32 not in case} for costs in figures().rounds]
    told = [what for what, _, _ in models.goals(figures(rounds=alone))]
    assert len(told) == 3
    assert not [what for what in told if FP32 in what]


def test_an_untrained_network_with_states_is_a_bundle_of_its_hop(going: Bundle) -> None:
    manifest = going.manifest
    assert (manifest.window_frames, manifest.hop_frames) == (4, 4)
    assert manifest.check() is None
    told = model_cases.told_of(model_cases.Contender(going, "so"))
    assert (told["goes_on"], told["hop_s"], told["remark"]) == (True, pytest.approx(0.04), "so")


def test_the_sets_of_a_stream_are_its_hops_one_after_the_other_each_from_its_own_place(going: Bundle) -> None:
    sets = windows_of_streams(going.manifest, 2)
    frames = model_cases._frames(going.manifest.front_end)
    for stream, start in enumerate((0, 7919 % (len(frames) - 4 - 4 * len(sets)))):
        heard = np.concatenate([each[stream] for each in sets])
        np.testing.assert_array_equal(heard, frames[start:][: len(heard)])


@pytest.mark.usefixtures("one_thread")
def test_a_recipe_of_the_box_that_has_no_bundle_takes_part_untrained(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_cases, "recipe_names", lambda: ["esc50-stream"])
    trained, other = contenders(folder.parent)
    assert (trained.bundle.manifest.name, trained.remark) == ("tiny", "")
    assert other.bundle.manifest.name == "esc50-stream"
    assert "untrained" in other.remark


def test_where_yamnet_is_not_here_it_is_told_how_it_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("EARWITNESS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with pytest.raises(EarwitnessError, match="earwitness models add yamnet"):
        model_cases.yamnet_bundle()


@pytest.mark.data
def test_yamnet_is_measured_one_window_a_call(data_root: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="YAMNet needs LiteRT (extra litert)")
    if not (data_root.parent / "models" / "yamnet.tflite").is_file():
        pytest.skip("yamnet.tflite is not in models beside the data")
    ((name, make),) = model_cases.litert_cases(model_cases.yamnet_bundle())
    assert name == case_of("yamnet", LITERT, 1)
    assert make()() == 1
