"""Train and judge by a data set's official folds: the honest figure of a recipe, and how far chance moves it.

For each round of the protocol the test folds are left out, a bundle is trained on the others (what is chosen, such as
temperature and thresholds, is chosen on a part of those) and judged on what it never heard. Every seed goes through
all rounds. What is trained already is not trained again, and what was interrupted goes on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np

from ...stream.errors import EarwitnessError
from ..bundle import MANIFEST, Bundle
from ..data.datasets import open_dataset
from ..evaluate import hear, some_windows
from ..runtime import open_runtime
from ..training.recipe import Recipe
from .cost import Cost, cost_of
from .judgement import Hearing, Judgement, judge
from .report_html import write_report

FIGURES = ("accuracy", "top5", "window_accuracy", "macro_f1", "mean_average_precision", "heard", "misheard")


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One bundle: trained without some folds and judged on them."""

    seed: int
    folds: list[int]
    bundle: str
    figures: dict[str, float]


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """A figure, for each seed the mean over the rounds, and over the seeds."""

    mean: float
    deviation: float  # the standard deviation over the seeds, 0 of one
    lowest: float
    highest: float


class CrossValidation(msgspec.Struct, frozen=True, kw_only=True):
    """How good what a recipe makes is on sounds that it was not made from.

    Attributes:
        figures: by the names of FIGURES.
        by_folds: the mean accuracy over the seeds on each round's folds.
        pooled: all clips of all rounds together, each judged by the bundle that never heard it; of the first seed.
    """

    recipe: str
    data: str
    protocol: str
    seeds: list[int]
    rounds: list[Round]
    figures: dict[str, Spread]
    by_folds: dict[str, float]
    pooled: Judgement


def cross_validate(
    recipe: Recipe,
    out: Path,
    root: Path | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    device: str = "auto",
    threads: int | None = None,
    say: Callable[[str], None] = print,
    page: Path | None = None,
) -> CrossValidation:
    """Train and judge a bundle for each seed and each round of the protocol of the recipe's data.

    Args:
        device: to train on; judged is on the CPU.
        out: bundles become `out/NAME-HASH/seedS-foldF/NAME`; the hash is the recipe's.
        page: an HTML report of the pooled judgement.

    Raises:
        EarwitnessError: the data has no folds, no seed is given, or training fails.
    """
    from ..train import train_bundle  # here: it needs torch

    if not seeds:
        raise EarwitnessError("cross-validation: one seed at least")
    dataset = open_dataset(recipe.data.name, root)
    plan = dataset.rounds()
    digest = hashlib.sha256(recipe.identity.encode()).hexdigest()[:8]
    rounds: list[Round] = []
    hearings: dict[int, list[Hearing]] = {seed: [] for seed in seeds}
    cost: Cost | None = None
    for seed in seeds:
        for trained, tested in plan:
            data = msgspec.structs.replace(recipe.data, folds=trained, test_folds=tested)
            folder = out / f"{recipe.name}-{digest}" / f"seed{seed}-fold{'-'.join(map(str, tested))}"
            if (folder / recipe.name / MANIFEST).is_file():
                bundle = Bundle.load(folder / recipe.name)
            else:
                say(f"seed {seed}, trained on folds {_list(trained)}, judged on {_list(tested)}")
                bundle = train_bundle(
                    msgspec.structs.replace(recipe, data=data), folder, root, seed, device, threads, say
                )
            runtime = open_runtime(bundle, "cpu")
            hearing = hear(bundle, dataset, root, tested, None, runtime)
            cost = cost or cost_of(bundle, runtime, some_windows(bundle, hearing.clips))
            judgement = judge(hearing)
            hearings[seed].append(hearing)
            figures = {name: float(getattr(judgement, name)) for name in FIGURES}
            rounds.append(Round(seed=seed, folds=list(tested), bundle=bundle.tag, figures=figures))
            say(f"seed {seed}, folds {_list(tested)}: {judgement.accuracy:.4f} of {judgement.clips} clips")
    pooled_hearing = pool(hearings[seeds[0]], recipe.name)
    pooled = judge(pooled_hearing, cost=cost)
    if page is not None:
        write_report(page, pooled, pooled_hearing, bundle)
    return CrossValidation(
        recipe=recipe.name,
        data=dataset.name,
        protocol=dataset.protocol,
        seeds=list(seeds),
        rounds=rounds,
        figures={name: _spread(rounds, seeds, name) for name in FIGURES},
        by_folds={
            _list(tested): float(np.mean([each.figures["accuracy"] for each in rounds if each.folds == list(tested)]))
            for _, tested in plan
        },
        pooled=pooled,
    )


def pool(hearings: Sequence[Hearing], model: str) -> Hearing:
    """The clips of several rounds as those of one; their labels are put into one order."""
    labels = sorted({label for hearing in hearings for label in hearing.labels})
    clips = []
    for hearing in hearings:
        columns = [labels.index(label) for label in hearing.labels]
        for each in hearing.clips:
            scores = np.zeros((len(each.scores), len(labels)), np.float32)
            scores[:, columns] = each.scores
            clips.append(replace(each, scores=scores))
    thresholds = {label: level for hearing in hearings for label, level in hearing.thresholds.items()}
    return replace(
        hearings[0],
        model=model,
        labels=labels,
        thresholds=thresholds,
        clips=clips,
        folds=tuple(sorted({fold for hearing in hearings for fold in hearing.folds})),
        exclusive=all(hearing.exclusive for hearing in hearings),
        multi_label=any(hearing.multi_label for hearing in hearings),
        skipped=sum(hearing.skipped for hearing in hearings),
        unknown={label: hint for hearing in hearings for label, hint in hearing.unknown.items()},
        unreadable=list(dict.fromkeys(line for hearing in hearings for line in hearing.unreadable)),
        notes=list(dict.fromkeys(note for hearing in hearings for note in hearing.notes)),
    )


def report(result: CrossValidation) -> str:
    """For a person: the figures with their spread, then the folds, then the pooled judgement."""
    return "\n".join(_lines(result))


def _lines(result: CrossValidation) -> Iterator[str]:
    from .judgement_text import report as judgement_report

    yield f"{result.recipe} on {result.data}: {result.protocol}; seeds {_list(result.seeds)}"
    for name, each in result.figures.items():
        spread = f" ± {each.deviation:.4f} ({each.lowest:.4f} to {each.highest:.4f})" if len(result.seeds) > 1 else ""
        yield f"  {each.mean:.4f}{spread}  {name.replace('_', ' ')}"
    for folds, accuracy in result.by_folds.items():
        yield f"  {accuracy:.4f}  on folds {folds}"
    yield ""
    yield f"all rounds of seed {result.seeds[0]} together:"
    yield judgement_report(result.pooled)


def _spread(rounds: Sequence[Round], seeds: Sequence[int], name: str) -> Spread:
    means = [np.mean([each.figures[name] for each in rounds if each.seed == seed]) for seed in seeds]
    return Spread(
        mean=float(np.mean(means)),
        deviation=float(np.std(means, ddof=1)) if len(means) > 1 else 0.0,
        lowest=float(min(means)),
        highest=float(max(means)),
    )


def _list(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
