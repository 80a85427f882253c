"""A judgement as a person reads it on a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from .judgement import NOTHING, ClassResult, Confusion, Judgement

WIDEST_MATRIX = 12  # columns; of larger ones the classes tell what they were taken for


def report(judgement: Judgement) -> str:
    """The figures with their 95 % intervals, then the classes, worst first, then who was taken for whom."""
    return "\n".join(_lines(judgement))


def _lines(judgement: Judgement) -> Iterator[str]:
    folds = ", ".join(map(str, judgement.folds))
    by_map = f", labels by {judgement.label_map}" if judgement.label_map else ""
    yield f"{judgement.model} on {judgement.data}, folds {folds}{by_map} ({judgement.protocol})"
    yield f"{judgement.clips} clips of {judgement.recordings} recordings, {judgement.windows} windows"
    for note in judgement.notes:
        yield f"note: {note}"
    for line in judgement.unreadable:
        yield f"not readable: {line}"
    for label, hint in judgement.unknown.items():
        yield f"not known to the model: {label}" + (f"; {hint}" if hint else "")
    if judgement.skipped:
        yield f"{judgement.skipped} clips of such labels are left out"
    yield ""
    what = "windows named right" if judgement.unit == "window" else "clips named right, by the mean of their windows"
    for name, text in (
        ("accuracy", what),
        ("top5", "with the right label among the five best"),
        ("window_accuracy", "single windows named right"),
        ("macro_f1", "macro F1"),
        ("mean_average_precision", "mean average precision (mAP)"),
        ("heard", "clips in which an event of the right label began"),
        ("misheard", "clips in which one of a wrong label began"),
    ):
        if not (judgement.unit == "window" and name == "window_accuracy"):
            yield _figure(judgement, name, text)
    yield from _calibration(judgement)
    yield from _cost(judgement)
    yield from _false_alarms(judgement)
    yield ""
    yield from _classes(judgement)
    if judgement.confusion and len(judgement.confusion.named) <= WIDEST_MATRIX:
        yield ""
        yield from _matrix(judgement.confusion)


def _figure(judgement: Judgement, name: str, text: str) -> str:
    value = getattr(judgement, name)
    low, high = judgement.intervals.get(name, (value, value))
    if name == "accuracy" and judgement.unit == "clip":
        text += "; by recording {:.3f} to {:.3f}".format(*judgement.intervals["accuracy_by_recording"])
    return f"  {value:.3f}  ({low:.3f} to {high:.3f})  {text}"


def _calibration(judgement: Judgement) -> Iterator[str]:
    for unit, each in judgement.calibration.items():
        yield (
            f"  {each.error:.3f}  expected calibration error of {unit}s; {each.error_scaled:.3f} with temperature "
            f"{each.temperature:.2f}"
        )
    for fitted in dict.fromkeys(each.fitted for each in judgement.calibration.values()):
        yield f"         (scaled: {fitted})"


def _cost(judgement: Judgement) -> Iterator[str]:
    cost = judgement.cost
    if cost is not None:
        parts = [
            "" if cost.parameters is None else f"{cost.parameters:,} parameters",
            "" if cost.macs is None else f"{cost.macs / 1e6:,.2f} M multiply-adds a window",
            "" if cost.ms_per_window is None else f"{cost.ms_per_window:.2f} ms a window (median, {cost.device})",
        ]
        yield "  " + ", ".join(part for part in parts if part)


def _false_alarms(judgement: Judgement) -> Iterator[str]:
    for kind, alarms in judgement.false_alarms.items():
        labels = ", ".join(f"{label} {n}" for label, n in sorted(alarms.labels.items(), key=lambda item: -item[1]))
        counted = f"{alarms.events} in {alarms.seconds:.0f} s"
        yield f"  {alarms.per_hour:5.0f}  false alarms an hour in {kind}: {counted}  {labels}".rstrip()


def _classes(judgement: Judgement) -> Iterator[str]:
    width = max(18, *(len(label) for label in judgement.classes)) if judgement.classes else 18
    yield f"  {'':{width}}  right    heard  precision  recall    F1    AP  taken for"
    for label, result in sorted(judgement.classes.items(), key=lambda item: _share(item[1])):
        figures = result.figures
        others = ", ".join(f"{other} {count}" for other, count in result.taken_for.items())
        right = f"{result.correct}/{result.clips}"
        yield (
            f"  {label:{width}} {right:>7} {result.heard:6}  {figures.precision:9.2f} {figures.recall:7.2f} "
            f"{figures.f1:5.2f} {figures.average_precision:5.2f}  {others}"
        ).rstrip()


def _share(result: ClassResult) -> float:
    return result.correct / max(result.clips, 1)


def _matrix(confusion: Confusion) -> Iterator[str]:
    """A row each label, a column each name it was given; columns are numbered as the rows are."""
    numbers = [str(number) for number in range(1, len(confusion.named) + 1)]
    width = max(map(len, confusion.named))
    yield "  named " + " " * (width - 2) + " ".join(f"{number:>4}" for number in numbers)
    for number, label, counts in zip(numbers, confusion.labels, confusion.counts, strict=False):
        cells = " ".join(f"{count or '·':>4}" for count in counts)
        yield f"  {number:>3} {label:{width}}  {cells}"
    for number, name in list(zip(numbers, confusion.named, strict=True))[len(confusion.labels) :]:
        yield f"  {number:>3} {name if name == NOTHING else name + ' (not in the data)'}"
