"""What `earwitness evaluate` is asked for: one bundle judged, two compared, or a recipe cross-validated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ...stream.errors import EarwitnessError
from ...stream.standard_streams import progress_of
from ..bundle import find_bundle
from ..evaluate import evaluate_bundle, report
from ..training.recipe import parse_changes, recipe_for, recipe_names
from . import compare, cross_validate

DATA = "esc50"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """The options of the command, by their names."""

    model: str = "esc50-cnn"
    data: str | None = None
    root: Path | None = None
    folds: Sequence[str] = ()
    licence: Sequence[str] = ()
    device: str | None = None
    label_map: str | None = None
    per_window: bool = False
    backgrounds: bool = False
    page: Path | None = None
    compare: tuple[str, str] | None = None
    cross_validate: bool = False
    recipe: str | None = None
    config: Path | None = None
    network: str | None = None
    changes: Sequence[str] = ()
    seeds: int = 1
    out: Path = Path("runs")
    threads: int | None = None


def answer(request: Request, say: Callable[[str], None]) -> tuple[msgspec.Struct, str]:
    """What was found, as a struct with all figures and as text for a person.

    Raises:
        EarwitnessError: options that do not go together, or what each of the three ways refuses.
    """
    problem = _problem(request)
    if problem:
        raise EarwitnessError(f"evaluate: {problem}")
    if request.cross_validate:
        validated = _cross_validated(request, say)
        return validated, cross_validate.report(validated)
    by: dict[str, Any] = {
        "data": request.data or DATA, "root": request.root, "folds": parse_folds(request.folds),
        "licences": request.licence or None, "device": request.device or "cpu", "label_map": request.label_map,
    }  # fmt: skip
    with progress_of(by["data"]) as by["progress"]:
        if request.compare:
            first, second = map(find_bundle, request.compare)
            comparison = compare.compare_bundles(first, second, **by)
            return comparison, compare.report(comparison)
        judgement = evaluate_bundle(
            find_bundle(request.model), **by, unit="window" if request.per_window else "clip",
            backgrounds=request.backgrounds, page=request.page,
        )  # fmt: skip
        return judgement, report(judgement)


def parse_folds(texts: Sequence[str]) -> list[int] | None:
    """Folds as the command line takes them: `4`, several times or with commas between them; None where there is none.

    >>> parse_folds(["1,2", "4"])
    [1, 2, 4]
    """
    try:
        return sorted({int(part) for text in texts for part in text.split(",")}) or None
    except ValueError:
        raise EarwitnessError(f"--folds {' '.join(texts)}: folds are numbers, as in --folds 1,2 or --folds 4") from None


def _problem(request: Request) -> str | None:
    """Which options contradict each other; None where none do."""
    training = (request.recipe, request.config, request.network, *request.changes)
    if not request.cross_validate and any(training):
        return "--recipe, --config, --network and --set tell what to train: they go with --cross-validate"
    if request.compare and (request.cross_validate or request.page or request.per_window or request.backgrounds):
        return "--compare goes without --cross-validate, --report, --per-window and --backgrounds"
    if request.cross_validate and (request.folds or request.label_map or request.per_window or request.backgrounds):
        return "--cross-validate goes by all official folds: without --folds, --label-map, --per-window, --backgrounds"
    return None


def _cross_validated(request: Request, say: Callable[[str], None]) -> cross_validate.CrossValidation:
    named = request.recipe
    if not (named or request.config or (request.network and request.data)):
        named = (
            request.model if request.model in recipe_names() else None
        )  # the box's models are called as their recipes
    chosen = recipe_for(named, request.config, request.network, request.data, parse_changes(request.changes))
    if request.licence:
        data = msgspec.structs.replace(chosen.data, licences=tuple(request.licence))
        chosen = msgspec.structs.replace(chosen, data=data)
    return cross_validate.cross_validate(
        chosen,
        request.out,
        request.root,
        range(request.seeds),
        request.device or "auto",
        request.threads,
        say,
        request.page,
    )
