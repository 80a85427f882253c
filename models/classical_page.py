"""The page on the classical families, made from their options: `python -m earwitness.models.classical_page`."""

from __future__ import annotations

from .classical_families import FAMILIES, PLAIN_RECIPE, FamilyOptions, family_options_of
from .classical_statistics import STATISTICS
from .manifest import toml_value, values_to_toml
from .networks.registry import describe_options

PAGE = """# Classical families

Made by `python -m earwitness.models.classical_page`; a test holds this page to the code.

What learnt before networks did, by scikit-learn: over a window's frames a few statistics are taken of each value that
the front end gives, and a classifier decides by these alone. They train in seconds, want few recordings, and run live
like any other model:

```sh
earwitness train --network svm --data ./sounds --out runs
earwitness run --model runs/sounds-svm
```

`--set network.OPTION=VALUE` changes an option; `earwitness train --network svm --help` tells them too. Clips, folds,
backgrounds, thresholds and judgement are those of the networks ([how to train](../how-to/train.md)); of a recipe's
table `[training]` nothing counts, and mixtures of classes and masks are left out of the augmentation. A window gets one
label: where several sound at once, take a network.

The bundle's `model.onnx` holds statistics and classifier in one graph (skl2onnx; ONNX's own domain `ai.onnx.ml`, which
ONNX Runtime has built in), compared with scikit-learn at several batch sizes before it is written. Nothing is pickled.
They run on the CPU."""


def reference_page() -> str:
    """Every family with its options, and the statistics, as Markdown."""
    lines = [*PAGE.splitlines(), "", "| family | what it is |", "| --- | --- |"]
    lines += [f"| [`{family}`](#{family}) | {line} |" for family, line in FAMILIES.items()]
    lines += ["", "## All of them", "", *_table(FamilyOptions), "", "| statistic | what |", "| --- | --- |"]
    lines += [f"| `{name}` | {line} |" for name, line in STATISTICS.items()]
    lines += [
        "",
        "All are divided by their standard deviation over the training windows, the mean taken away before.",
        "",
        "`train --network FAMILY --data DATA` without a recipe takes this one:",
        "",
        "```toml",
        *values_to_toml(PLAIN_RECIPE).splitlines(),
        "```",
    ]
    shared = FamilyOptions.__struct_fields__
    for family in FAMILIES:
        lines += ["", f"## {family}", "", *_table(family_options_of(family), shared)]
    return "\n".join(lines) + "\n"


def _table(struct: type[FamilyOptions], without: tuple[str, ...] = ()) -> list[str]:
    rows = [
        f"| `{name}` | {shape} | `{toml_value(default)}` | {text} |"
        for name, shape, default, text in describe_options(struct)
        if name not in without
    ]
    return ["| option | type | default | what |", "| --- | --- | --- | --- |", *rows]


if __name__ == "__main__":
    print(reference_page(), end="")
