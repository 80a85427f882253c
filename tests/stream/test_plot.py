"""Pictures of recordings: which rows they have, that axes are labelled and cover the data, and what 0 dB means."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from earwitness.stream.errors import EarwitnessError
from earwitness.stream.features.catalog import FEATURES
from earwitness.stream.plot import DPI, draw, write_plot
from earwitness.stream.plot_data import COLUMNS, ROWS, gather
from earwitness.stream.sources.recording import Recording

pytest.importorskip("matplotlib")


def sound(folder: Path, rate: int = 16000, seconds: float = 1.0, name: str = "tone.wav") -> Path:
    """A tone of half the full scale at 1 kHz that begins after a third, over faint noise."""
    count = round(seconds * rate)
    t = np.arange(count) / rate
    tone = 0.5 * np.sin(2 * np.pi * 1000 * t) * (t >= seconds / 3)
    noise = 1e-3 * np.random.default_rng(1).standard_normal(count)
    soundfile.write(folder / name, tone + noise, rate, subtype="FLOAT")
    return folder / name


@pytest.fixture(scope="module")
def tone(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The usual picture of the tone, for tests that only look."""
    return figure_of(sound(tmp_path_factory.mktemp("tone")))


def figure_of(path: Path, rows: tuple[str, ...] = (), **options: Any) -> Any:
    with Recording(str(path)) as recording:
        return draw(gather(recording, rows, options))


def rows_of(figure: Any) -> list[str]:
    return [axes.get_label() for axes in figure.axes if not axes.get_label().endswith("colours")]


def axes_of(figure: Any, label: str) -> Any:
    return next(axes for axes in figure.axes if axes.get_label() == label)


def test_a_picture_is_a_png_of_its_figures_size_and_the_same_bytes_again(tmp_path: Path) -> None:
    from PIL import Image

    path, again, rows = tmp_path / "new" / "tone.png", tmp_path / "again.png", ("stft", "rms")
    for out in (path, again):
        with Recording(str(sound(tmp_path))) as recording:
            write_plot(recording, out, rows)
    assert path.read_bytes() == again.read_bytes()
    width, height = figure_of(tmp_path / "tone.wav", rows).get_size_inches()
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.size == (int(width * DPI), int(height * DPI))
    assert not list(path.parent.glob(".*"))


def test_without_a_choice_all_rows_are_drawn_and_all_axes_are_labelled(tone: Any) -> None:
    figure = tone
    assert rows_of(figure) == list(ROWS)
    for axes in figure.axes:
        assert axes.get_ylabel(), axes.get_label()
    for row in ROWS:
        assert axes_of(figure, row).get_title(loc="left")
    assert axes_of(figure, "level").get_xlabel() == "time / s"
    assert axes_of(figure, "spectrum").get_xlabel() == "frequency / Hz"
    assert "tone.wav" in figure.texts[0].get_text()


@pytest.mark.parametrize("seconds", [0.05, 7.0])
def test_all_rows_over_time_have_the_same_axis_from_the_first_sample_to_the_last(
    tmp_path: Path, seconds: float
) -> None:
    figure = figure_of(sound(tmp_path, 8000, seconds))
    for row in ROWS:
        if row != "spectrum":
            assert axes_of(figure, row).get_xlim() == pytest.approx((0, seconds))
    for row in ("stft_db", "log_mel", "cwt"):
        (image,) = axes_of(figure, row).images
        left, right, *_ = image.get_extent()
        assert left <= 0.001 * seconds
        assert right >= seconds * 0.999
        assert image.get_array().shape[1] <= 2 * COLUMNS


def test_limits_cover_what_is_drawn(tone: Any) -> None:
    figure = tone
    for row in ("waveform", "descriptors", "level"):
        axes = axes_of(figure, row)
        low, high = axes.get_ylim()
        for line in axes.lines:
            values = np.asarray(line.get_ydata(), float)
            assert low <= np.nanmin(values), row
            assert np.nanmax(values) <= high, row
    for row in ("stft_db", "log_mel", "cwt"):
        (image,) = axes_of(figure, row).images
        assert image.norm.vmax >= image.get_array().max()


def test_colour_bars_say_what_0_db_is_and_a_tone_has_its_level(tone: Any) -> None:
    figure = tone
    for row in ("stft_db", "cwt"):
        assert axes_of(figure, f"{row} colours").get_ylabel() == "dB re full-scale sine"
        (image,) = axes_of(figure, row).images
        assert image.get_array().max() == pytest.approx(-6.0, abs=0.5)  # half of full scale
    assert "per Hz" in axes_of(figure, "log_mel colours").get_ylabel()
    loudest = axes_of(figure, "spectrum").lines[1]
    assert np.max(loudest.get_ydata()) == pytest.approx(-6.0, abs=0.1)


def test_mel_bands_without_a_norm_have_the_level_of_the_tone_in_them(tmp_path: Path) -> None:
    figure = figure_of(sound(tmp_path), ("mel",), norm="none", n_mels=16)
    (image,) = axes_of(figure, "log_mel").images
    assert axes_of(figure, "log_mel colours").get_ylabel() == "dB re full-scale sine"
    assert -9.1 < image.get_array().max() < -5.9  # between two bands each has half of it


def test_the_wave_of_a_long_sound_shows_its_loudest_sample(tmp_path: Path) -> None:
    samples = np.zeros(16000 * 20)
    samples[123_457] = -0.9
    soundfile.write(tmp_path / "click.wav", samples, 16000, subtype="FLOAT")
    with Recording(str(tmp_path / "click.wav")) as recording:
        data = gather(recording, ("waveform",), {})
    assert data.low.min() == pytest.approx(-0.9)
    assert len(data.low) < 5 * COLUMNS
    assert data.frames.values["amplitude_envelope"].max() == pytest.approx(0.9)


def test_rows_are_as_chosen_and_any_feature_is_one(tmp_path: Path) -> None:
    path = sound(tmp_path, seconds=0.05)
    assert rows_of(figure_of(path, ("spectrum", "stft", "rms"))) == ["spectrum", "stft_db", "rms"]
    every = tuple(FEATURES)
    figure = figure_of(path, every)
    shown = {"stft": "stft_db", "stft_magnitude": "stft_db", "stft_power": "stft_db", "mel": "log_mel"}
    assert rows_of(figure) == list(dict.fromkeys(shown.get(name, name) for name in every))
    figure = figure_of(path, ("mfcc_delta", "chroma", "spectral_contrast"))
    assert [len(axes_of(figure, row).images) for row in rows_of(figure)] == [1, 1, 1]
    assert [axes_of(figure, row).get_xlabel() for row in rows_of(figure)] == ["", "", "time / s"]


@pytest.mark.parametrize(
    ("row", "says"),
    [("waveforn", "mean 'waveform'"), ("log_mell", "mean 'log_mel'"), ("stft_delta", "cannot be drawn")],
)
def test_an_unknown_row_is_refused_with_the_nearest(tmp_path: Path, row: str, says: str) -> None:
    with pytest.raises(EarwitnessError, match=says):
        figure_of(sound(tmp_path), (row,))


@pytest.mark.parametrize("kind", ["silence", "one sample", "nothing", "slow"])
def test_unusual_sounds_are_drawn_without_a_warning(tmp_path: Path, kind: str) -> None:
    samples, rate = {
        "silence": (np.zeros(2000), 8000),
        "one sample": (np.ones(1), 8000),
        "nothing": (np.zeros(0), 8000),
        "slow": (np.sin(np.arange(200.0)), 1000),
    }[kind]
    soundfile.write(tmp_path / "odd.wav", samples, rate, subtype="FLOAT")
    figure = figure_of(tmp_path / "odd.wav")
    figure.canvas.draw()
    assert rows_of(figure) == [row for row in ROWS if row != "level" or rate > 1000]
    assert all(axes.get_title(loc="left") for axes in figure.axes if not axes.get_label().endswith("colours"))
    assert axes_of(figure, "waveform").get_ylim()[1] >= 1


def test_what_is_too_short_for_a_frame_says_so(tmp_path: Path) -> None:
    figure = figure_of(sound(tmp_path, seconds=0.01), ("log_mel", "rms"), center=False)
    for row in ("log_mel", "rms"):
        assert [text.get_text() for text in axes_of(figure, row).texts] == ["too short for a frame of 512 samples"]


def test_a_files_name_is_shown_as_it_is(tmp_path: Path) -> None:
    name = "$5 \\frac 雨.wav"
    with Recording(str(sound(tmp_path, seconds=0.1, name=name))) as recording:
        write_plot(recording, tmp_path / "money.png", ("waveform",))
    assert name in figure_of(tmp_path / name, ("rms",)).texts[0].get_text()


def test_settings_of_matplotlib_are_left_as_they_were(tmp_path: Path) -> None:
    import matplotlib

    with matplotlib.rc_context({"font.size": 30.0, "axes.grid": True}):
        before = dict(matplotlib.rcParams)
        with Recording(str(sound(tmp_path))) as recording:
            write_plot(recording, tmp_path / "large.png", ("waveform",))
        assert dict(matplotlib.rcParams) == before
    with Recording(str(tmp_path / "tone.wav")) as recording:
        write_plot(recording, tmp_path / "usual.png", ("waveform",))
    assert (tmp_path / "large.png").read_bytes() == (tmp_path / "usual.png").read_bytes()


def test_another_kind_of_file_and_a_missing_matplotlib_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Recording(str(sound(tmp_path))) as recording:
        with pytest.raises(EarwitnessError, match=r"call it .*x\.png"):
            write_plot(recording, tmp_path / "x.jpg")
        with pytest.raises(EarwitnessError, match=f"call it {tmp_path}/tone.png"):
            write_plot(recording, tmp_path)
        with pytest.raises(EarwitnessError, match=r"call it tone\.png"):
            write_plot(recording, Path())
        with warnings.catch_warnings(), monkeypatch.context() as patch:
            patch.setitem(sys.modules, "matplotlib", None)
            with pytest.raises(EarwitnessError, match="pip install matplotlib"):
                write_plot(recording, tmp_path / "x.png")


@pytest.mark.data
@pytest.mark.parametrize("clip", ["esc10/audio/1-100032-A-0", "fsdd/recordings/7_george_1"])
def test_real_recordings_are_drawn_within_their_axes(data_root: Path, clip: str) -> None:
    found = sorted(data_root.glob(f"{clip}.*"))
    if not found:
        pytest.skip(f"no {clip}")
    figure = figure_of(found[0])
    figure.canvas.draw()
    renderer, (width, height) = figure.canvas.get_renderer(), figure.canvas.get_width_height()
    for axes in figure.axes:
        box = axes.get_tightbbox(renderer)
        assert box.x0 >= 0, axes.get_label()
        assert box.y0 >= 0, axes.get_label()
        assert box.x1 <= width, axes.get_label()
        assert box.y1 <= height, axes.get_label()
