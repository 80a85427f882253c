"""The page on the classical families, made from their options: `python -m earwitness.models.classical.page`."""

from __future__ import annotations

from ..manifest import toml_value, values_to_toml
from ..networks.registry import describe_options
from .families import FAMILIES, PLAIN_RECIPE, FamilyOptions, family_options_of
from .statistics import STATISTICS

PAGE = """# Classical families

Made by `python -m earwitness.models.classical.page`; a test holds this page to the code.

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


FIGURES = """## How good they are

ESC-10, trained on folds 1 to 3 (`earwitness train --network FAMILY --data esc10`, seed 0, defaults), judged by fold 4:
80 clips, named by the mean of their windows' probabilities, and single windows of two seconds. The defaults were chosen
by folds 1 to 3, each of them judged by a model of the other two. A random forest over hand-made features, by the author
of the data, named 0.727 right (Piczak, 2015, https://doi.org/10.1145/2733373.2806390, five folds); chance is 0.1. A
clip is 0.0125: neighbours in this table are not told apart by so few. Training took 15 to 35 s of one core, reading,
judging and all; a decision takes a millisecond, `knn` seven.

| family | clips | windows | `model.onnx` |
| --- | --- | --- | --- |
| `random_forest` | 0.925 | 0.788 | 14.3 MB |
| `gradient_boosting` | 0.913 | 0.786 | 0.4 MB |
| `svm` | 0.900 | 0.807 | 3.8 MB |
| `logistic_regression` | 0.888 | 0.786 | 34 kB |
| `pca` | 0.888 | 0.763 | 0.8 MB |
| `adaboost` | 0.888 | 0.725 | 0.4 MB |
| `lda` | 0.875 | 0.738 | 34 kB |
| `rbm` | 0.838 | 0.705 | 0.4 MB |
| `decision_tree` | 0.775 | 0.584 | 44 kB |
| `knn` | 0.763 | 0.650 | 6.6 MB |
| `kmeans` | 0.750 | 0.539 | 0.2 MB |
| `naive_bayes` | 0.675 | 0.548 | 50 kB |

In 160 s of noise, hum, air and rumble that no family had heard, `naive_bayes` raised 18 false alarms: it takes numbers
for independent that are not, and is far too sure. The others raised none to two."""


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
    lines += ["", *FIGURES.splitlines()]
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
