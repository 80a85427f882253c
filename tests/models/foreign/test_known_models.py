"""YAMNet by its name: from its official address or a file that is here, from samples and from our patches."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from earwitness.models.bundle import KNOWN as MANIFESTS
from earwitness.models.bundle import bundle_names, find_bundle, user_folder
from earwitness.models.foreign import known_models
from earwitness.models.foreign.add import read_foreign
from earwitness.models.foreign.known_models import KNOWN, add_known
from earwitness.models.runtime import open_runtime
from earwitness.stream.errors import EarwitnessError
from earwitness.stream.features.frontend import compute, silence
from earwitness.stream.resample import resample
from earwitness.stream.windowing import windows_of

from ..data.server import Served, serving
from ..live import live

SOUNDS = {
    "chainsaw": ["Chainsaw"],
    "clock_tick": ["Tick", "Tick-tock", "Clock"],
    "crackling_fire": ["Fire", "Crackle"],
    "crying_baby": ["Baby cry, infant cry", "Crying, sobbing"],
    "dog": ["Dog", "Bark", "Yip", "Howl", "Bow-wow", "Growling", "Whimper (dog)"],
    "helicopter": ["Helicopter"],
    "rain": ["Rain", "Raindrop", "Rain on surface"],
    "rooster": ["Chicken, rooster", "Crowing, cock-a-doodle-doo"],
    "sea_waves": ["Waves, surf", "Ocean"],
    "sneezing": ["Sneeze"],
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder of bundles, empty."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return user_folder()


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_the_manifests_name_521_sounds_of_which_silence_is_no_event(name: str) -> None:
    manifest = read_foreign(MANIFESTS / KNOWN[name].manifest)
    assert manifest.name == name
    assert len(manifest.labels) == 521
    assert (manifest.labels[0], manifest.labels[-1]) == ("Speech", "Field recording")
    assert set(manifest.labels) - set(manifest.thresholds) == {"Silence"}
    assert manifest.multi_label


def test_a_window_of_either_is_0975_s_every_04875_s_or_as_near_as_frames_allow() -> None:
    samples, patches = (read_foreign(MANIFESTS / KNOWN[name].manifest) for name in ("yamnet", "yamnet-patches"))
    assert (samples.window_frames / 16000, samples.hop_frames / 16000) == (0.975, 0.4875)
    spec = patches.front_end
    assert spec.frame_span(patches.window_frames - 1)[1] == 15600
    assert patches.hop_frames * spec.hop_length / spec.sr == 0.48


def test_a_model_that_is_known_and_not_here_tells_how_to_bring_it() -> None:
    with pytest.raises(EarwitnessError, match="no model 'yamnet': earwitness models add yamnet brings it here"):
        find_bundle("yamnet")


def test_another_file_is_not_taken_for_the_known_one(tmp_path: Path) -> None:
    (tmp_path / "yamnet.tflite").write_bytes(b"something else")
    with pytest.raises(EarwitnessError, match="is not the file that is known as yamnet"):
        add_known("yamnet", tmp_path / "yamnet.tflite")
    with pytest.raises(EarwitnessError, match="No such file"):
        add_known("yamnet", tmp_path / "none.tflite")
    assert not user_folder().exists()


def test_where_no_address_is_known_the_way_without_is_told() -> None:
    with pytest.raises(EarwitnessError, match=r"earwitness models add yamnet-patches --file yamnet_spectra_in.tflite"):
        add_known("yamnet-patches")


# ---- from an address


def served_yamnet(monkeypatch: pytest.MonkeyPatch, data: bytes, url: str) -> None:
    """Lets `data` be the file that is known as yamnet, and `url` its address."""
    known = dataclasses.replace(KNOWN["yamnet"], url=url, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
    monkeypatch.setitem(known_models.KNOWN, "yamnet", known)


def small_yamnet() -> bytes:
    """A file as YAMNet's, of a tenth of its window."""
    pytest.importorskip("ai_edge_litert", reason="LiteRT runs it (extra litert)")
    from ..foreign_models import lite_file

    weights = np.zeros((1560, 521), np.float32)
    weights[:, 1] = 0.01
    return lite_file([1560], weights)


def small_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """YAMNet's manifest with the names and the window of the small file."""
    text = (MANIFESTS / "yamnet.toml").read_text()
    text = text.replace("waveform_binary", "x").replace("tower0/network/layer32/final_output", "y")
    (tmp_path / "yamnet.toml").write_text(text.replace("15600", "1560").replace("7800", "780"))
    (tmp_path / "yamnet_labels.txt").write_text((MANIFESTS / "yamnet_labels.txt").read_text())
    monkeypatch.setattr(known_models, "MANIFESTS", tmp_path)


def test_it_is_fetched_checked_installed_and_nothing_else_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    data = small_yamnet()
    small_manifest(tmp_path, monkeypatch)
    with serving(Served(data, breaks=[100_000])) as served:
        served_yamnet(monkeypatch, data, served.url)
        bundle = add_known("yamnet", pause_s=0.0).bundle
    assert served.asked == ["", "bytes=100000-"], "what had come was not asked for again"
    assert find_bundle("yamnet") == bundle
    assert b"Apache License 2.0" in bundle.contents["CREDITS.txt"]
    assert os.listdir(home) == ["yamnet"]
    assert bundle_names(home) == ["yamnet"]


def test_another_file_at_the_address_is_refused_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    with serving(Served(b"12345678")) as served:
        served_yamnet(monkeypatch, b"87654321", served.url)
        with pytest.raises(EarwitnessError, match="its SHA-256 is another"):
            add_known("yamnet", pause_s=0.0)
    assert bundle_names(home) == []
    assert not list(home.rglob("*.tflite"))


def test_offline_is_one_line_with_the_way_round(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Served(b"")) as served:
        pass  # nobody answers at this address any more
    served_yamnet(monkeypatch, b"12345678", served.url)
    with pytest.raises(EarwitnessError, match=r"cannot load http://127.0.0.1.* name it with --file") as caught:
        add_known("yamnet", pause_s=0.0)
    assert "\n" not in str(caught.value)


# ---- the real files


@pytest.fixture
def real(data_root: Path) -> Path:
    pytest.importorskip("ai_edge_litert", reason="LiteRT runs it (extra litert)")
    folder = data_root.parent / "models"
    if not (folder / "yamnet.tflite").is_file():
        pytest.skip(f"no {folder / 'yamnet.tflite'}")
    return folder


@pytest.mark.data
def test_the_labels_are_those_of_its_own_table(real: Path) -> None:
    with (real / "yamnet_class_map.csv").open() as file:
        theirs = [row["display_name"] for row in csv.DictReader(file)]
    assert read_foreign(MANIFESTS / "yamnet.toml").labels == theirs


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(KNOWN))
def test_esc10_is_named_right_and_live_as_offline(real: Path, data_root: Path, name: str) -> None:
    """0.975 and 0.978 of all 320 clips were seen; here every eighth, the blocks of a live source."""
    bundle = add_known(name, real / KNOWN[name].file).bundle
    manifest, spec, runtime = bundle.manifest, bundle.manifest.front_end, open_runtime(bundle, "cpu")
    columns = {sound: [manifest.labels.index(label) for label in labels] for sound, labels in SOUNDS.items()}
    with (data_root / "esc10" / "meta" / "esc50.csv").open() as file:
        clips = list(csv.DictReader(file))[::8]
    right = 0
    for clip in clips:
        samples, rate = soundfile.read(data_root / "esc10" / "audio" / clip["filename"], dtype="float32")
        frames = compute(spec, resample(samples, rate, spec.sr))
        windows = windows_of(frames, manifest.window_frames, manifest.hop_frames, silence(spec))
        offline: Any = runtime.scores(windows)
        heard, _ = live(bundle, samples, rate, block=4410)
        np.testing.assert_array_equal(heard, offline)
        means = offline.mean(axis=0)
        right += max(columns, key=lambda sound: means[columns[sound]].max()) == clip["category"]
    assert right / len(clips) >= 0.9
