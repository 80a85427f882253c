"""The pictures of a report as SVG that goes into the page: its colours are the page's variables, light or dark."""

from __future__ import annotations

import base64
import io
import itertools
from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from ...stream.features.frontend import FrontEndSpec, compute
from ...stream.plot import check_matplotlib
from .judgement import Calibration, Confusion
from .metrics import Bools, Floats, precision_recall_curve

LETTER = 6.6  # pixels, of the labels' type
SHOWN_DB = 80.0  # below the loudest of a spectrogram


def confusion_matrix(confusion: Confusion) -> str:
    """A cell for each pair of labels; the stronger the colour, the larger the share of the row."""
    rows, columns = len(confusion.labels), len(confusion.named)
    cell = 34 if columns <= 14 else 22 if columns <= 26 else 15
    left = 12 + LETTER * max(map(len, confusion.labels))
    top = 12 + LETTER * max(map(len, confusion.named)) * 0.86
    width, height = left + columns * cell + 60, top + rows * cell + 4
    parts = [f'<svg class="matrix" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" role="img">']
    for column, name in enumerate(confusion.named):
        x, y = left + (column + 0.62) * cell, top - 6
        parts.append(f'<text transform="translate({x:.1f} {y:.1f}) rotate(-58)">{escape(name)}</text>')
    for row, label in enumerate(confusion.labels):
        y = top + row * cell
        parts.append(f'<text class="end" x="{left - 6:.1f}" y="{y + cell / 2 + 4:.1f}">{escape(label)}</text>')
        total = max(sum(confusion.counts[row]), 1)
        for column, count in enumerate(confusion.counts[row]):
            x = left + column * cell
            kind = "right" if confusion.named[column] == label else "wrong"
            share = count / total
            tip = f"{escape(label)} named {escape(confusion.named[column])}: {count} of {total}"
            fill = f'class="{kind}" fill-opacity="{0.12 + 0.88 * share:.2f}"' if count else 'class="empty"'
            parts.append(
                f'<rect x="{x + 0.75:.1f}" y="{y + 0.75:.1f}" width="{cell - 1.5}" height="{cell - 1.5}" rx="2" {fill}>'
                f"<title>{tip}</title></rect>"
            )
            if count and cell > 15:
                tone = "on" if share > 0.55 else "off"
                parts.append(
                    f'<text class="count {tone}" x="{x + cell / 2:.1f}" y="{y + cell / 2 + 4:.1f}">{count}</text>'
                )
    return "".join([*parts, "</svg>"])


def reliability_diagram(calibration: Calibration) -> str:
    """Accuracy over confidence, as the model is and scaled, and below how many examples there are of each."""
    size, left, top, low = 260, 44, 12, 58
    bottom = top + size
    parts = [f'<svg viewBox="0 0 {left + size + 14} {bottom + low + 40}" role="img">', *_grid(left, top, size, size)]
    parts.append(f'<line class="ideal" x1="{left}" y1="{bottom}" x2="{left + size}" y2="{top}"/>')
    most = max(1, *(each.examples for each in calibration.bins))
    width = size / len(calibration.bins)
    for index, each in enumerate(calibration.bins):
        height = (low - 22) * each.examples / most
        parts.append(
            f'<rect class="bar" x="{left + index * width + 1:.1f}" y="{bottom + low + 12 - height:.1f}" '
            f'width="{width - 2:.1f}" height="{height:.1f}"><title>{each.examples} examples</title></rect>'
        )
    for kind, bins in (("after", calibration.bins_scaled), ("before", calibration.bins)):
        there = [each for each in bins if each.examples]
        points = [(left + size * each.confidence, bottom - size * each.accuracy) for each in there]
        parts.append(f'<polyline class="{kind}" points="{_points(points)}"/>')
        for (x, y), each in zip(points, there, strict=True):
            tip = f"{each.examples} examples of confidence {each.confidence:.2f}: {each.accuracy:.2f} right"
            parts.append(f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="4"><title>{tip}</title></circle>')
    parts.append(f'<text class="middle" x="{left + size / 2}" y="{bottom + low + 32}">confidence</text>')
    parts.append(f'<text class="middle" transform="translate(11 {top + size / 2}) rotate(-90)">share right</text>')
    return "".join([*parts, "</svg>"])


def precision_recall(label: str, scores: Floats, truth: Bools, average: float) -> str:
    """The curve of one class, small: its name and average precision above it."""
    size, left, top = 104, 6, 34
    precision, recall = precision_recall_curve(scores, truth)
    points = [(left + size * r, top + size * (1 - p)) for p, r in zip(precision, recall, strict=True)]
    points = _thinned(points)
    steps = [points[0]]
    for before, after in itertools.pairwise(points):  # precision holds until the recall changes
        steps += [(before[0], after[1]), after]
    area = [*steps, (left, top + size), (points[0][0], top + size)]
    name = label if len(label) <= 17 else label[:16] + "…"
    return (
        f'<svg class="small" viewBox="0 0 {size + 12} {size + top + 6}" role="img">'
        f"<title>{escape(label)}: average precision {average:.3f}</title>"
        f'<text class="name" x="{left}" y="12">{escape(name)}</text><text x="{left}" y="27">AP {average:.2f}</text>'
        f'<rect class="frame" x="{left}" y="{top}" width="{size}" height="{size}"/>'
        f'<polygon class="area" points="{_points(area)}"/><polyline class="before" points="{_points(steps)}"/></svg>'
    )


def score_strip(scores: Floats, right: int, named: int, spans: Sequence[tuple[float, float]]) -> str:
    """How the scores of the right label and of the one that was named went, window by window.

    Args:
        scores: [windows, labels].
        spans: where each window begins and ends, as shares of the clip's length.
    """
    width, height = 320, 54
    parts = [f'<svg class="strip" viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img">']
    for level in (0.0, 0.5, 1.0):
        y = 3 + (height - 6) * (1 - level)
        parts.append(f'<line class="grid" x1="0" y1="{y}" x2="{width}" y2="{y}"/>')
    for kind, index in (("before", right), ("after", named)):
        points = [
            (width * min(1.0, (first + end) / 2), 3 + (height - 6) * (1 - float(score)))
            for (first, end), score in zip(spans, scores[:, index], strict=True)
        ]
        if len(points) == 1:
            points = [(0.0, points[0][1]), (float(width), points[0][1])]
        parts.append(f'<polyline class="{kind}" points="{_points(points)}"/>')
    return "".join([*parts, "</svg>"])


def spectrogram(samples: NDArray[np.float32], sr: int) -> str:
    """The sound's mel bands over time as the address of a PNG that is part of the page."""
    check_matplotlib()
    from matplotlib.image import imsave

    spec = FrontEndSpec(sr=sr, fmax=min(8000.0, sr / 2), n_fft=512 * max(1, sr // 16000), hop_length=sr // 100,
                        win_length=400 * max(1, sr // 16000))  # fmt: skip
    bands = compute(spec, samples)
    if not len(bands):
        bands = np.zeros((1, spec.dims), np.float32)
    loudest = float(bands.max())
    file = io.BytesIO()
    imsave(file, bands.T, vmin=loudest - SHOWN_DB, vmax=loudest, cmap="magma", origin="lower", format="png")
    return data_address(file.getvalue(), "image/png")


def data_address(content: bytes, kind: str) -> str:
    """Something that is part of the page, as an address."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _grid(left: float, top: float, width: float, height: float) -> list[str]:
    parts = []
    for step in range(6):
        share = step / 5
        x, y = left + width * share, top + height * (1 - share)
        parts += [
            f'<line class="grid" x1="{left}" y1="{y:.1f}" x2="{left + width}" y2="{y:.1f}"/>',
            f'<line class="grid" x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{top + height}"/>',
            f'<text class="end" x="{left - 6}" y="{y + 4:.1f}">{share:.1f}</text>',
            f'<text class="middle" x="{x:.1f}" y="{top + height + 16}">{share:.1f}</text>',
        ]
    return parts


def _thinned(points: Sequence[tuple[float, float]], least: float = 0.4) -> list[tuple[float, float]]:
    """Without points that lie within `least` pixels of the one before; the last one stays."""
    kept = [points[0]]
    for x, y in points[1:-1]:
        if abs(x - kept[-1][0]) + abs(y - kept[-1][1]) >= least:
            kept.append((x, y))
    return [*kept, points[-1]]


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
