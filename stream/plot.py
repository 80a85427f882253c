"""A recording as a picture: rows over one time axis, in seconds, Hz and decibels. Needs matplotlib."""

from __future__ import annotations

import contextlib
import itertools
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .durable import part_of
from .errors import EarwitnessError
from .plot_data import PlotData, gather
from .plot_rows import HEIGHTS, draw_row
from .sources.recording import Recording

DPI = 120
_WIDTH = 11.0  # inches, as all that follows
_LEFT, _RIGHT, _TOP, _BOTTOM = 1.0, 1.75, 0.7, 0.5
_GAP = 0.42  # between rows: the title of the next
_GAP_WITH_AXIS = 0.8  # and below a row with an axis of its own, above it too

STYLE: dict[str, Any] = {
    "font.family": ["DejaVu Sans"],  # comes with matplotlib: the same everywhere
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 5.0,
    "axes.labelsize": 9.0,
    "axes.linewidth": 0.6,
    "axes.edgecolor": "#555555",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.color": "#333333",
    "ytick.color": "#333333",
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "lines.linewidth": 1.1,
    "savefig.dpi": "figure",
}


def plot_of_file(
    file: str,
    path: Path,
    rows: Sequence[str],
    options: Mapping[str, Any],
    rate: int | None = None,
    channel: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> list[str]:
    """`write_plot` of a file or `demo`. Returns notes for a person, a line each."""
    with Recording(file, rate, channel) as recording:
        write_plot(recording, path, rows, options, progress)
        return recording.notes()


def write_plot(
    recording: Recording,
    path: Path,
    rows: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Writes a PNG of a recording; the same recording makes the same bytes.

    Args:
        recording: read to its end, but not closed.
        path: OUT.png; its folder is made, and it appears when it is whole.
        rows: from the top: names of `plot_data.ROWS` or of features; none is all of ROWS.
        options: of the front end, by the names of `FrontEndSpec`; what is left open suits the rate.
        progress: is told how far the reading is, 0..1.

    Raises:
        EarwitnessError: on another suffix than .png, unknown rows, bad options, without matplotlib, and where the disk
            does not take it.
    """
    if path.suffix.lower() != ".png":
        better = path / f"{Path(recording.name).stem}.png" if path.is_dir() else path.with_suffix(".png")
        raise EarwitnessError(f"{path}: a picture is a .png; call it {better}")
    check_matplotlib()
    data = gather(recording, rows, options or {}, progress)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = part_of(path)
        try:
            save(data, part)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise EarwitnessError(f"cannot write {path}: {error.strerror or error}") from None


def save(data: PlotData, path: Path) -> None:
    """Draws and writes a PNG."""
    from PIL import Image

    with _style(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # in a file's name: a box stands for it
        canvas = draw(data).canvas
        canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    # 256 colours that are spread over all that there are look the same and take half of the room.
    few = image.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(path, format="png", dpi=(DPI, DPI))


def draw(data: PlotData) -> Any:
    """The picture as a `matplotlib.figure.Figure`, an Axes a row, labelled with the row's name."""
    with _style():
        return _draw(data)


def _draw(data: PlotData) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    heights = [HEIGHTS.get(row, HEIGHTS[""]) for row in data.rows]
    over_time = [row != "spectrum" for row in data.rows]
    gaps = [_GAP if here and above else _GAP_WITH_AXIS for above, here in itertools.pairwise(over_time)]
    height = _TOP + sum(heights) + sum(gaps) + _BOTTOM
    figure = Figure(figsize=(_WIDTH, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    figure.text(
        _LEFT / _WIDTH, 1 - 0.16 / height, _headline(data), va="top", fontsize=11, color="#111111", parse_math=False
    )
    top = height - _TOP
    last_of_time = max((n for n, over in enumerate(over_time) if over), default=-1)
    for number, (row, row_height) in enumerate(zip(data.rows, heights, strict=True)):
        bottom = (top - row_height) / height
        axes = figure.add_axes(
            (_LEFT / _WIDTH, bottom, (_WIDTH - _LEFT - _RIGHT) / _WIDTH, row_height / height), label=row
        )
        bar = (1 - (_RIGHT - 0.15) / _WIDTH, bottom, 0.14 / _WIDTH, row_height / height)
        draw_row(axes, bar, data, row)
        if over_time[number]:
            axes.set_xlim(0.0, max(data.duration_s, 1.0 / data.rate))
            if number == last_of_time or not all(over_time[number : number + 2]):
                axes.set_xlabel("time / s")
            else:
                axes.tick_params(labelbottom=False)
        top -= row_height + (gaps[number] if number < len(gaps) else 0.0)
    return figure


def check_matplotlib() -> None:
    """Raises EarwitnessError where there is none."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise EarwitnessError("a picture needs matplotlib: pip install matplotlib") from None


@contextlib.contextmanager
def _style() -> Iterator[None]:
    """The same picture for everybody, whatever their own matplotlibrc says."""
    import matplotlib

    keep = {"backend", "backend_fallback", "interactive"}
    settings: Any = {name: value for name, value in matplotlib.rcParamsDefault.items() if name not in keep}
    with matplotlib.rc_context(settings | STYLE):
        yield


def _headline(data: PlotData) -> str:
    seconds = data.duration_s
    length = f"{seconds:.3g} s" if seconds < 100 else f"{int(seconds // 60)} min {seconds % 60:.0f} s"
    return f"{data.name}   ·   {length}   ·   {data.rate:,} Hz".replace(",", "\u202f")
