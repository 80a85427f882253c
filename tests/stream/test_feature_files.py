"""Features of recordings as files: what is in them, how they are called, and what is refused."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from earwitness.stream.errors import EarwitnessError
from earwitness.stream.feature_files import column_names, features_of_file, outputs, write_features
from earwitness.stream.feature_options import (
    UNITS,
    feature_lines,
    frame_times,
    parse_settings,
    spec_for,
    unit_of,
)
from earwitness.stream.features.catalog import FEATURES
from earwitness.stream.features.frontend import compute
from earwitness.stream.features.spec import FrontEndSpec
from earwitness.stream.sources.recording import Recording

Samples = NDArray[np.float32]


@pytest.fixture
def noise(rng: np.random.Generator) -> Samples:
    return (0.1 * rng.standard_normal(20_011)).astype(np.float32)


@pytest.fixture
def wav(tmp_path: Path, noise: Samples) -> Path:
    path = tmp_path / "noise.wav"
    soundfile.write(path, noise, 16000, subtype="FLOAT")
    return path


def written(wav: Path, out: Path, spec: FrontEndSpec, rate: int | None = None) -> Path:
    with Recording(str(wav), rate) as recording:
        write_features(recording, spec, out)
    return out


def test_an_npz_has_an_array_for_each_feature_and_the_numbers_of_a_live_run(
    wav: Path, noise: Samples, tmp_path: Path
) -> None:
    spec = FrontEndSpec(feature=("rms", "log_mel", "stft", "log_mel_delta"))
    with np.load(written(wav, tmp_path / "new" / "noise.npz", spec)) as numbers:
        assert sorted(numbers) == ["frame_times", "log_mel", "log_mel_delta", "rms", "spec", "stft"]
        whole = compute(spec, noise)
        frames = spec.frames_of(len(noise))
        assert numbers["rms"].shape == (frames, 1)
        assert numbers["stft"].shape == (frames, 257)
        assert numbers["stft"].dtype == np.complex64
        for name, columns in spec.columns.items():
            expected = np.ascontiguousarray(whole[:, columns])
            np.testing.assert_array_equal(numbers[name], expected.view(np.complex64) if name == "stft" else expected)
        assert numbers["log_mel"].dtype == np.float32
        assert numbers["frame_times"].dtype == np.float64
        assert numbers["frame_times"].tolist() == [spec.frame_time(frame) for frame in range(frames)]
        told = json.loads(numbers["spec"].item())
    assert told["hop_length"] == 160
    assert told["feature"] == ["rms", "log_mel", "stft", "log_mel_delta"]


def test_the_same_sound_makes_the_same_bytes(wav: Path, tmp_path: Path) -> None:
    spec = FrontEndSpec()
    first, second = (written(wav, tmp_path / name, spec).read_bytes() for name in ("a.npz", "b.npz"))
    assert first == second


def test_a_table_has_a_row_a_frame_and_its_numbers_are_read_as_the_same_float32(
    wav: Path, noise: Samples, tmp_path: Path
) -> None:
    spec = FrontEndSpec(feature=("rms", "log_mel"), n_mels=3)
    with written(wav, tmp_path / "noise.csv", spec).open(newline="") as file:
        header, *rows = list(csv.reader(file))
    assert header == ["time_s", "rms", "log_mel_792 Hz", "log_mel_1733 Hz", "log_mel_3723 Hz"]
    np.testing.assert_array_equal(np.float32([row[1:] for row in rows]), compute(spec, noise))
    np.testing.assert_allclose([float(row[0]) for row in rows], frame_times(spec, 0, len(rows)), atol=5e-7)


def test_parquet_has_the_columns_of_the_table_and_the_spec(wav: Path, noise: Samples, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    spec = FrontEndSpec(feature=("rms", "log_mel"), n_mels=3)
    table = parquet.read_table(written(wav, tmp_path / "noise.parquet", spec))
    assert table.column_names == ["time_s", *column_names(spec)]
    assert str(table.schema.field("rms").type) == "float"
    values = np.stack([table.column(name).to_numpy() for name in table.column_names[1:]], axis=1)
    np.testing.assert_array_equal(values, compute(spec, noise))
    assert json.loads(table.schema.metadata[b"spec"])["n_mels"] == 3


def test_parquet_without_pyarrow_is_one_line_with_the_command(
    wav: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(EarwitnessError, match=r"pip install 'earwitness\[parquet\]'"):
        written(wav, tmp_path / "noise.parquet", FrontEndSpec())


@pytest.mark.parametrize("feature", ["stft", "stft_delta"])
def test_what_is_complex_is_refused_in_a_table(feature: str, wav: Path, tmp_path: Path) -> None:
    with pytest.raises(EarwitnessError, match=f"^{feature} is complex.*stft_magnitude"):
        written(wav, tmp_path / "noise.csv", FrontEndSpec(feature=feature))
    assert not (tmp_path / "noise.csv").exists()


def test_what_is_too_short_gives_arrays_without_frames(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "short.wav", np.zeros(100), 16000)
    for suffix in (".npz", ".csv"):
        written(tmp_path / "short.wav", tmp_path / f"short{suffix}", FrontEndSpec())
    with np.load(tmp_path / "short.npz") as numbers:
        assert numbers["log_mel"].shape == (0, 64)
    assert len((tmp_path / "short.csv").read_text().splitlines()) == 1


def test_notes_tell_what_a_person_should_know_of_a_file(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "odd.wav", np.float32([0.5, np.nan] * 40), 8000, subtype="FLOAT")
    file, out = str(tmp_path / "odd.wav"), tmp_path / "odd.npz"
    assert features_of_file(file, out, ["rms"], {"center": False}) == [
        "odd.wav: 40 samples are no sound (NaN, Inf): they count as silence",
        f"{file}: too short for a frame of 256 samples at 8000 Hz: {out} has none",
    ]


def test_nothing_is_left_of_a_file_that_cannot_be_finished(wav: Path, tmp_path: Path) -> None:
    def stop(share: float) -> None:
        raise KeyboardInterrupt

    before = set(tmp_path.iterdir())
    for suffix in (".npz", ".csv", ".parquet"):
        with Recording(str(wav)) as recording, pytest.raises(KeyboardInterrupt):
            write_features(recording, FrontEndSpec(), tmp_path / f"noise{suffix}", stop)
    assert set(tmp_path.iterdir()) == before


def test_progress_goes_to_one(wav: Path, tmp_path: Path) -> None:
    told: list[float] = []
    with Recording(str(wav)) as recording:
        write_features(recording, FrontEndSpec(), tmp_path / "noise.npz", told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_outputs_of_several_files_go_to_a_folder_or_by_a_pattern(tmp_path: Path) -> None:
    assert outputs(["dog.wav"], "numbers.csv") == [Path("numbers.csv")]
    assert outputs(["a/dog.wav", "b/rain.ogg"], "out/") == [Path("out/dog.npz"), Path("out/rain.npz")]
    assert outputs(["dog.wav"], str(tmp_path)) == [tmp_path / "dog.npz"]
    assert outputs(["dog.wav", "rain.ogg"], "x/{}.mel.csv") == [Path("x/dog.mel.csv"), Path("x/rain.mel.csv")]


@pytest.mark.parametrize(
    ("files", "out", "says"),
    [
        (["a.wav", "b.wav"], "out.csv", r"2 files need as many outputs: -o out/ .*-o 'out/\{\}\.csv'"),
        (["a/x.wav", "b/x.wav"], "out/", "a/x.wav and b/x.wav would both become"),
        (["a.wav"], "out.npy", "unknown kind of file '.npy'; did you mean '.npz'"),
        (["a.wav"], "out", r"end it in \.npz"),
    ],
)
def test_outputs_that_cannot_be_are_refused_with_what_can(files: list[str], out: str, says: str) -> None:
    with pytest.raises(EarwitnessError, match=says):
        outputs(files, out)


def test_columns_have_names_of_their_own_even_where_labels_are_equal() -> None:
    spec = FrontEndSpec(feature="mel", sr=1000, n_fft=4096, win_length=4096, n_mels=128, fmin=0, fmax=20)
    assert len(set(column_names(spec))) == 128


@pytest.mark.parametrize("rate", [2400, 8000, 11_025, 16_000, 22_050, 44_100, 48_000, 192_000])
def test_open_options_suit_every_rate(rate: int) -> None:
    every = [name for name in FEATURES if name != "waveform"]
    spec = spec_for(rate, every, {})
    assert spec.fmax == rate / 2
    assert 0.032 <= spec.n_fft / rate < 0.064
    assert (spec.win_length, spec.hop_length, spec.center) == (spec.n_fft, spec.n_fft // 4, True)
    assert spec.n_mels == 64 or rate == 2400


def test_options_that_were_said_stand_and_open_ones_follow_them() -> None:
    assert spec_for(16000, ["mel"], {"win_length": 4000}).n_fft == 4096
    assert spec_for(16000, ["mel"], {"win_length": 400}).hop_length == 100
    assert spec_for(16000, ["mfcc"], {"n_mels": 12}).n_mfcc == 12
    assert spec_for(16000, ["mel"], {"pad_window": "end"}).center is False
    for option in ("n_fft", "win_length"):
        with pytest.raises(EarwitnessError, match=f"{option} is 100000000; at most 262144 samples"):
            spec_for(16000, ["mel"], {option: 100_000_000})
    with pytest.raises(EarwitnessError, match="at most 8000"):
        spec_for(16000, ["mel"], {"fmax": 9000.0})
    with pytest.raises(EarwitnessError, match="did you mean 'log_mel'"):
        spec_for(16000, ["log_mell"], {"hop_length": 0})
    with pytest.raises(EarwitnessError, match="hop_length is 0"):
        spec_for(16000, ["log_mel"], {"hop_length": 0})


def test_any_option_of_the_front_end_can_be_set_by_its_name() -> None:
    assert parse_settings(["lifter=22", "norm=none", "center=false", "band_edges=100,200.5"]) == {
        "lifter": 22.0, "norm": "none", "center": False, "band_edges": (100.0, 200.5),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("lifter", "write NAME=VALUE"),
        ("liftr=3", "did you mean 'lifter'"),
        ("n_mels=many", "expected `int`"),
        ("feature=mel", "unknown option 'feature'"),
        ("pad_mode=wrap", "wrap"),
    ],
)
def test_a_setting_that_cannot_be_is_one_line(setting: str, says: str) -> None:
    with pytest.raises(EarwitnessError, match=says) as error:
        spec_for(16000, ["mel"], parse_settings([setting]))
    assert "\n" not in str(error.value)


def test_every_feature_has_a_unit_and_a_line_in_the_list() -> None:
    assert set(UNITS) == set(FEATURES)
    lines = feature_lines()
    assert [line.split()[0] for line in lines] == [*FEATURES, "NAME_delta", "NAME_delta2"]
    assert all(len(line.split()) > 4 for line in lines)
    assert unit_of("mfcc_delta2", log="ln") == "ln per frame²"
