"""The keys of a recipe for people: what follows `earwitness train --help`, and the page of the reference.

python -m earwitness.models.training.recipe_help > docs/reference/recipes.md
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..manifest import toml_value
from .kinds import KINDS, describe_kind
from .recipe import known_keys


def help_lines(network: str | None = None) -> list[str]:
    """All networks, or the options of one; then all keys but the front end's, each with its default and meaning.

    Raises EarwitnessError when there is no such network.
    """
    if network is None:
        lines = ["Networks (--network KIND):", *_columns((kind, line) for kind, line in KINDS.items())]
    else:
        options = describe_kind(network)
        lines = [f"Network {network}: {KINDS[network]}. Its options (--set):"]
        lines += _columns((f"network.{name}={_said(default)}", text) for name, _, default, text in options)
    lines += ["", "Keys of a recipe (--set):"]
    lines += _columns((f"{key}={_said(default)}", text) for key, (text, default) in known_keys().items())
    return [*lines, "front_end.*: every option of the front end, as docs/reference/bundles.md tells them", ""]


def reference_page() -> str:
    """docs/reference/recipes.md."""
    lines = PAGE.splitlines()
    for table, text in TABLES.items():
        lines += ["", f"## {f'`[{table}]`' if table else 'The recipe itself'}", "", *text.splitlines()]
        rows = (
            []
            if table == "augmentation"
            else [(key, said) for key, said in known_keys().items() if key.rpartition(".")[0] == table]
        )
        if rows:
            lines += ["", "| key | default | meaning |", "| --- | --- | --- |"]
            lines += [f"| `{key.rpartition('.')[2]}` | {_cell(default)} | {text} |" for key, (text, default) in rows]
    return "\n".join(lines) + "\n"


PAGE = """# Recipes

A TOML file that decides what a training run gives ([how to train](../how-to/train.md)). Each key has a default but the
data set's name; `--set TABLE.KEY=VALUE` changes one for a run. A bundle holds its own as `recipe.toml`.

Made by `python -m earwitness.models.training.recipe_help`; a test holds this page to the code.

```toml
description = "ten everyday sounds"

[data]
name = "esc10"
test_folds = [4]

[network]
kind = "gru"
hidden = 96

[training]
steps = 4000
```"""

TABLES = {
    "": "Its name is the file's where it states none.",
    "data": """Which recordings are trained on, chosen by and judged by. Where neither `folds` nor `test_folds` is said,
the official test is judged by, or else the last fold.""",
    "front_end": """What a network sees of the sound: every option of a bundle's [front end](bundles.md), with its
defaults; `fmax` is 7000 at 16 kHz where nothing else is said.""",
    "network": """`kind`, one of the [networks](networks.md) or classical families, and beside it the options of that
kind.""",
    "augmentation": "How training windows are changed: [augmentation](augmentation.md) tells it.",
    "training": "How it is trained.",
}


def _cell(value: Any) -> str:
    return "" if value is None else f"`{_said(value)}`"


def _said(value: Any) -> str:
    return "" if value is None else toml_value(value)


def _columns(rows: Iterable[tuple[str, str]]) -> list[str]:
    rows = list(rows)
    width = min(44, max(len(name) for name, _ in rows)) + 2
    return [f"  {name.ljust(width)}{text}" if len(name) < width else f"  {name}  {text}" for name, text in rows]


if __name__ == "__main__":
    print(reference_page(), end="")
