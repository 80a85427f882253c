from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from earwitness.models.training.recipe import (
    known_keys,
    parse_changes,
    read_recipe,
    recipe_for,
    recipe_named,
    recipe_names,
    recipe_of,
    to_toml,
)
from earwitness.models.training.recipe_help import reference_page
from earwitness.stream.errors import EarwitnessError

PLAIN: dict[str, Any] = {"name": "own", "data": {"name": "folder"}}


def test_the_recipes_of_the_box_are_read_by_their_names() -> None:
    assert {"esc10-cnn", "esc50-cnn"} <= set(recipe_names())
    for name in recipe_names():
        assert recipe_named(name).name == name
    with pytest.raises(EarwitnessError, match="no recipe 'esc50-cn': did you mean 'esc50-cnn'"):
        recipe_named("esc50-cn")


def test_a_file_holds_what_differs_from_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "doorbell.toml"
    path.write_text('window_frames = 50\n[data]\nname = "folder"\n[network]\nkind = "gru"\n[training]\nsteps = 7\n')
    recipe = read_recipe(path)
    assert (recipe.name, recipe.window_frames, recipe.hop_frames) == ("doorbell", 50, 25)
    assert (recipe.network.kind, recipe.training.steps, recipe.training.batch) == ("gru", 7, 64)
    assert recipe.front_end.fmax == 7000.0
    assert (
        recipe_of(
            {**PLAIN, "front_end": {"sr": 8000, "fmax": 4000.0, "n_fft": 256, "win_length": 200, "hop_length": 80}}
        ).front_end.fmax
        == 4000.0
    )


def test_a_recipe_is_written_and_read_back_whole(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the options of networks lie beside them (extra train)")
    changes = parse_changes(
        ["network.channels=[8, 16]", "network.depth=[1]", 'training.teachers=["a", "b"]', "data.folds=[1]"]
    )
    recipe = recipe_named("esc50-cnn", changes)
    path = tmp_path / "recipe.toml"
    path.write_text(to_toml(recipe))
    assert read_recipe(path) == recipe
    assert recipe.data.folds == (1,)
    assert {"channels": [8, 16], "depth": [1]}.items() <= recipe.network.options.items()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (["training.step=3"], "unknown key 'training.step': did you mean 'steps'"),
        (["steps=3"], "unknown key 'steps': did you mean 'training.steps'"),
        (["trainin.steps=3"], "unknown key 'trainin': did you mean 'training'"),
        (["training=3"], r"training is a table: \[training\]"),
        (["training.steps=0"], "training.steps: expected `int` >= 1"),
        (["training.steps=many"], "training.steps: expected `int`, got `str`"),
        (["training.optimizer=adamm"], "training.optimizer is 'adamm': did you mean 'adam'"),
        (["augmentation.masks=1"], "unknown key 'augmentation.masks': did you mean 'mask'"),
        (["front_end.n_mel=3"], "unknown key 'front_end.n_mel': did you mean 'n_mels'"),
        (["network.kind=cn"], "no network 'cn': did you mean 'cnn'"),
        (["name=a b"], "name: expected `str` matching"),
        (["hop_frames=1000"], "hop_frames is 1000: at most window_frames"),
        (["data.folds=[4]", "data.test_folds=[4]"], "fold 4 is trained on and judged by"),
        (["training.draws=3"], "batch 64 is no multiple of draws 3"),
        (["training.steps"], "it is KEY=VALUE"),
    ],
)
def test_what_cannot_be_is_refused_with_the_nearest_that_can(changes: list[str], told: str) -> None:
    with pytest.raises(EarwitnessError, match=told):
        recipe_of(PLAIN, parse_changes(changes))


def test_an_unknown_option_of_a_network_is_refused_with_the_nearest() -> None:
    pytest.importorskip("torch", reason="the options of networks lie beside them (extra train)")
    with pytest.raises(EarwitnessError, match="no option 'chanels'; did you mean 'channels'"):
        recipe_of(PLAIN, {"network.chanels": [3]})


def test_values_are_read_as_toml_writes_them_or_as_words() -> None:
    assert parse_changes(["a=1", "b=1e-3", "c=true", "d=x-y", 'e="1"', "f=[1, 2]", "g=", "h = 2"]) == {
        "a": 1, "b": 1e-3, "c": True, "d": "x-y", "e": "1", "f": [1, 2], "g": "", "h": 2,
    }  # fmt: skip


def test_the_command_line_names_a_whole_recipe_or_a_network_and_data(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[data]\nname = "esc10"\n[network]\nkind = "gru"\n')
    assert recipe_for(recipe="esc10-cnn", data="esc50").data.name == "esc50"
    assert recipe_for(config=path, changes={"seed": 3}).seed == 3
    assert recipe_for(config=path, network="tdnn").network.kind == "tdnn"
    plain = recipe_for(network="lstm", data=str(tmp_path))
    assert (plain.name, plain.network.kind, plain.data.name) == (f"{tmp_path.name}-lstm", "lstm", str(tmp_path))
    for wrong in ({}, {"network": "cnn"}, {"data": "esc10"}):
        with pytest.raises(EarwitnessError, match="name --recipe"):
            recipe_for(**wrong)
    with pytest.raises(EarwitnessError, match="take one of them"):
        recipe_for(recipe="esc10-cnn", config=path)
    with pytest.raises(EarwitnessError, match=r"mine\.toml: unknown key 'data\.nam'"):
        recipe_for(config=path, changes={"data.nam": 1})


def test_a_file_that_is_none_is_told_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(EarwitnessError, match=r"cannot read .*gone\.toml"):
        read_recipe(tmp_path / "gone.toml")
    (tmp_path / "bad.toml").write_text("name = ")
    with pytest.raises(EarwitnessError, match=r"bad\.toml is no TOML"):
        read_recipe(tmp_path / "bad.toml")


def test_every_key_has_a_meaning_and_a_default_that_is_allowed() -> None:
    keys = known_keys()
    assert all(meaning for meaning, _ in keys.values())
    changes = {key: value for key, (_, value) in keys.items() if value is not None and key != "name"}
    assert recipe_of(PLAIN, {**changes, "data.name": "folder"}) == recipe_of(PLAIN)
    assert {"training.steps", "data.folds", "augmentation.mask", "window_frames"} <= set(keys)


def test_the_page_of_recipes_tells_every_key_as_the_code_has_it() -> None:
    page = Path(__file__).parents[3] / "docs" / "reference" / "recipes.md"
    assert page.read_text() == reference_page(), (
        "stale: python -m earwitness.models.training.recipe_help > docs/reference/recipes.md"
    )


def test_the_recipes_that_the_pages_show_are_valid() -> None:
    pytest.importorskip("torch", reason="the options of networks lie beside them (extra train)")
    docs = Path(__file__).parents[3] / "docs"
    shown = [
        tomllib.loads(text)
        for page in ("how-to/train.md", "reference/recipes.md")
        for text in re.findall(r"```toml\n(.*?)```", (docs / page).read_text(), re.DOTALL)
    ]
    assert len(shown) == 4
    for values in shown:
        recipe_of({"name": "shown", "data": {"name": "folder"}} | values)
