"""A judgement as one HTML file with pictures: nothing in it is fetched from elsewhere, and no script runs."""

from __future__ import annotations

import io
from collections.abc import Iterator
from html import escape
from pathlib import Path

import numpy as np

from ...stream.durable import write_whole
from ...stream.errors import EarwitnessError
from ..bundle import Bundle
from ..data.datasets import read_clip
from . import report_pictures as pictures
from .judgement import Heard, Hearing, Judgement, examples_of
from .report_style import STYLE

WORST = 12  # clips
PAIRS = 12  # of labels that are taken for each other
SHOWN_S = 30.0  # of a long clip


def write_report(path: Path, judgement: Judgement, hearing: Hearing, bundle: Bundle) -> None:
    """Write the page, whole or not at all.

    Raises:
        EarwitnessError: it cannot be written, or matplotlib is missing, which paints the spectrograms.
    """
    page = report_page(judgement, hearing, bundle)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, page.encode())
    except OSError as error:
        raise EarwitnessError(f"cannot write {path}: {error.strerror or error}") from None


def report_page(judgement: Judgement, hearing: Hearing, bundle: Bundle) -> str:
    """The page as text."""
    name = f"{judgement.model} on {judgement.data}"
    body = "\n".join(_sections(judgement, hearing, bundle))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(name)}</title><style>{STYLE}</style></head><body><main>\n{body}\n</main></body></html>\n"
    )


def _sections(judgement: Judgement, hearing: Hearing, bundle: Bundle) -> Iterator[str]:
    yield _head(judgement, bundle)
    yield _tiles(judgement)
    yield _remarks(judgement)
    yield '<section><h2>Classes</h2><p class="hint">Worst first. Bars are recall: how many were found.</p>'
    yield _classes(judgement) + "</section>"
    if judgement.confusion is not None:
        yield '<section><h2>What was taken for what</h2><p class="hint">Rows: what it was. Columns: what it was named. '
        yield "The stronger the colour, the larger the share of the row; point at a cell for its count.</p>"
        yield f'<div class="scroll">{pictures.confusion_matrix(judgement.confusion)}</div>{_pairs(judgement)}</section>'
    if judgement.calibration:
        yield _reliability(judgement)
    yield _curves(judgement, hearing)
    yield _worst(hearing, bundle)
    if judgement.false_alarms:
        yield _false_alarms(judgement)
    yield _method(judgement)


def _head(judgement: Judgement, bundle: Bundle) -> str:
    folds = ", ".join(map(str, judgement.folds))
    by_map = f" · labels by the map <b>{escape(judgement.label_map)}</b>" if judgement.label_map else ""
    return (
        f"<header><h1>{escape(judgement.model)}</h1><p>{escape(bundle.manifest.description)}</p>"
        f"<p>Judged on <b>{escape(judgement.data)}</b>, folds {folds}: {judgement.clips} clips of "
        f"{judgement.recordings} recordings, {judgement.windows} windows · {escape(judgement.protocol)}{by_map}</p>"
        "</header>"
    )


def _tiles(judgement: Judgement) -> str:
    unit = judgement.unit
    tiles = [
        _tile(judgement, "accuracy", f"{unit}s named right"),
        _tile(judgement, "top5", "right label among the five best"),
        _tile(judgement, "macro_f1", "macro F1"),
        _tile(judgement, "mean_average_precision", "mean average precision"),
        _tile(judgement, "window_accuracy", "single windows named right"),
        _tile(judgement, "heard", "clips with an event of the right label"),
        _tile(judgement, "misheard", "clips with an event of a wrong label"),
    ]
    for name, each in judgement.calibration.items():
        tiles.append(
            _plain_tile(f"{each.error:.3f}", f"calibration error of {name}s", f"scaled {each.error_scaled:.3f}")
        )
    cost = judgement.cost
    if cost is not None:
        if cost.parameters is not None:
            macs = "" if cost.macs is None else f"{cost.macs / 1e6:,.1f} M multiply-adds a window"
            tiles.append(_plain_tile(f"{cost.parameters:,}", "parameters", macs))
        if cost.ms_per_window is not None:
            tiles.append(
                _plain_tile(f"{cost.ms_per_window:.2f} ms", "a window", f"median, one at a time, {cost.device}")
            )
    return f'<section class="tiles">{"".join(tiles)}</section>'


def _tile(judgement: Judgement, name: str, text: str) -> str:
    low, high = judgement.intervals.get(name, (0.0, 0.0))
    span = f"95 %: {low:.3f} to {high:.3f}" if name in judgement.intervals else ""
    if name == "accuracy" and judgement.unit == "clip":
        span += "; by recording {:.3f} to {:.3f}".format(*judgement.intervals["accuracy_by_recording"])
    return _plain_tile(f"{getattr(judgement, name):.3f}", text, span)


def _plain_tile(value: str, text: str, below: str) -> str:
    return f"<div><strong>{value}</strong><span>{escape(text)}</span><small>{escape(below)}</small></div>"


def _remarks(judgement: Judgement) -> str:
    lines = list(judgement.notes)
    lines += [f"not readable: {line}" for line in judgement.unreadable]
    lines += [
        f"not known to the model: {label}" + (f"; {hint}" if hint else "") for label, hint in judgement.unknown.items()
    ]
    if judgement.skipped:
        lines.append(f"{judgement.skipped} clips of such labels are left out")
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<section class="remarks"><ul>{items}</ul></section>' if items else ""


def _classes(judgement: Judgement) -> str:
    rows = []
    ranked = sorted(judgement.classes.items(), key=lambda item: item[1].figures.recall)
    for label, result in ranked:
        figures = result.figures
        others = ", ".join(f"{escape(other)} {count}" for other, count in result.taken_for.items())
        rows.append(
            f"<tr><th>{escape(label)}</th><td>{result.correct} / {result.clips}</td>"
            f'<td class="meter"><i style="width:{100 * figures.recall:.0f}%"></i></td><td>{figures.recall:.2f}</td>'
            f"<td>{figures.precision:.2f}</td><td>{figures.f1:.2f}</td><td>{figures.average_precision:.2f}</td>"
            f'<td>{result.heard}</td><td class="text">{others}</td></tr>'
        )
    head = (
        '<tr><th></th><td>right</td><td class="meter"></td><td>recall</td><td>precision</td><td>F1</td><td>AP</td>'
        '<td>events</td><td class="text">taken for</td></tr>'
    )
    return f'<div class="scroll"><table><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table></div>'


def _pairs(judgement: Judgement) -> str:
    pairs = [
        (count, label, other)
        for label, result in judgement.classes.items()
        for other, count in result.taken_for.items()
    ]
    items = "".join(
        f"<li><b>{count}</b> {escape(label)} → {escape(other)}</li>"
        for count, label, other in sorted(pairs, key=lambda pair: -pair[0])[:PAIRS]
    )
    return f'<ul class="pairs">{items}</ul>' if items else ""


def _reliability(judgement: Judgement) -> str:
    parts = []
    for unit, each in judgement.calibration.items():
        parts.append(
            f"<figure><figcaption><b>{unit.title()}s</b>: error {each.error:.3f}, {each.error_scaled:.3f} with "
            f"temperature {each.temperature:.2f}</figcaption>{pictures.reliability_diagram(each)}</figure>"
        )
    fitted = "; ".join(dict.fromkeys(each.fitted for each in judgement.calibration.values()))
    return (
        '<section><h2>How sure, and how often right</h2><p class="hint"><i class="key before"></i>as it is '
        '<i class="key after"></i>with temperature, fitted on other examples: '
        f"{escape(fitted)}. On the diagonal, a confidence is the share that is right. Bars: how many examples.</p>"
        f'<div class="figures">{"".join(parts)}</div></section>'
    )


def _curves(judgement: Judgement, hearing: Hearing) -> str:
    examples = examples_of(hearing, judgement.unit)
    curves = []
    for label, result in sorted(judgement.classes.items(), key=lambda item: item[1].figures.average_precision):
        column = hearing.labels.index(label)
        curves.append(
            pictures.precision_recall(
                label, examples.scores[:, column], examples.truth[:, column], result.figures.average_precision
            )
        )
    return (
        '<section><h2>Precision over recall</h2><p class="hint">Worst first. To the right: more of the class is found; '
        f'upwards: less of what is found is something else.</p><div class="smalls">{"".join(curves)}</div></section>'
    )


def _worst(hearing: Hearing, bundle: Bundle) -> str:
    """Cards of the clips whose right label lies farthest below the best one."""
    columns = {label: index for index, label in enumerate(hearing.labels)}
    ranked = []
    for each in hearing.clips:
        if len(each.scores):
            mean = each.scores.mean(axis=0)
            right = max((columns[label] for label in each.clip.labels if label in columns), key=lambda k: mean[k])
            ranked.append((float(mean[right] - mean.max()), right, each))
    ranked.sort(key=lambda item: item[0])
    cards = [_card(hearing, each, right, bundle) for gap, right, each in ranked[:WORST] if gap < 0]
    if not cards:
        return "<section><h2>Worst heard</h2><p>Every clip was named right.</p></section>"
    return (
        '<section><h2>Worst heard</h2><p class="hint">Mel bands over time, the loudest 80 dB; below, the score of '
        '<i class="key before"></i>the right label and of <i class="key after"></i>the one that was named, '
        f'0 to 1, window by window.</p><div class="cards">{"".join(cards)}</div></section>'
    )


def _card(hearing: Hearing, heard: Heard, right: int, bundle: Bundle) -> str:
    manifest, mean = bundle.manifest, heard.scores.mean(axis=0)
    whole = read_clip(heard.clip, manifest.front_end.sr)
    samples = whole[: round(SHOWN_S * manifest.front_end.sr)]
    frames = max(1.0, len(samples) / manifest.front_end.hop_length)
    starts = [
        first for first in range(0, len(heard.scores) * manifest.hop_frames, manifest.hop_frames) if first < frames
    ]
    spans = [(first / frames, (first + manifest.window_frames) / frames) for first in starts]
    named = int(mean.argmax())
    best = ", ".join(f"{escape(hearing.labels[k])} {mean[k]:.2f}" for k in np.argsort(-mean)[:3])
    return (
        f'<figure class="card"><figcaption><b>{escape(hearing.labels[right])}</b> named '
        f"<b>{escape(hearing.labels[named])}</b></figcaption>"
        f'<img alt="spectrogram" src="{pictures.spectrogram(samples, manifest.front_end.sr)}">'
        f"{pictures.score_strip(heard.scores[: len(spans)], right, named, spans)}"
        f'<audio controls preload="none" src="{_sound(samples, manifest.front_end.sr)}"></audio>'
        f"<small>{escape(heard.clip.path.name)}, {len(whole) / manifest.front_end.sr:.1f} s: {best}</small></figure>"
    )


def _sound(samples: np.ndarray, sr: int) -> str:
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, np.clip(samples, -1, 1), sr, format="FLAC", subtype="PCM_16")
    return pictures.data_address(file.getvalue(), "audio/flac")


def _false_alarms(judgement: Judgement) -> str:
    rows = "".join(
        f"<tr><th>{escape(kind)}</th><td>{alarms.per_hour:.0f}</td><td>{alarms.events}</td>"
        f"<td>{alarms.seconds:.0f} s</td>"
        f'<td class="text">{escape(", ".join(f"{label} {count}" for label, count in alarms.labels.items()))}</td></tr>'
        for kind, alarms in judgement.false_alarms.items()
    )
    return (
        '<section><h2>False alarms</h2><p class="hint">Events in sounds without any, that it was not trained on.</p>'
        '<div class="scroll"><table><thead><tr><th></th><td>an hour</td><td>events</td><td>in</td>'
        f'<td class="text">heard</td></tr></thead><tbody>{rows}</tbody></table></div></section>'
    )


def _method(judgement: Judgement) -> str:
    counted = (
        "A clip is named by the mean of its windows' scores, the background left out"
        if judgement.unit == "clip"
        else "Each window is an example"
    )
    return (
        f"<footer><p>{counted}. Macro F1 and mean average precision are means over the classes that occur. Intervals "
        "hold 95 %: Wilson's for shares of clips, by drawing recordings anew for the rest. Confidence is the best "
        "label's share of the scores of all labels but the background. The sound went the way of a live run: front "
        "end, windows, runtime, detector.</p></footer>"
    )
