from __future__ import annotations

import os
import shutil
import tomllib
from pathlib import Path

import msgspec
import pytest

from earwitness.models.bundle import MANIFEST, Bundle, bundle_names, find_bundle, to_toml, write_bundle
from earwitness.stream.errors import EarwitnessError

from .conftest import manifest


def spoil(folder: Path, old: str, new: str) -> None:
    """Change the text of the manifest."""
    path = folder / MANIFEST
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def refusal(folder: Path) -> str:
    """The one line with which the bundle is refused."""
    with pytest.raises(EarwitnessError) as caught:
        Bundle.load(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_was_written_is_read_back(made: Bundle) -> None:
    assert Bundle.load(made.path) == made
    assert set(made.contents) == {"model.onnx", "model.safetensors", "CREDITS.txt"}
    assert made.manifest == manifest(files=made.manifest.files)


def test_the_tag_is_the_name_and_the_beginning_of_the_hash(made: Bundle) -> None:
    assert made.tag == f"tiny@{made.sha256[:6]}"


def test_the_tag_changes_with_the_manifest(made: Bundle, folder: Path) -> None:
    spoil(folder, "low = 0.6", "low = 0.7")
    assert Bundle.load(folder).tag != made.tag


def test_the_manifest_as_toml_holds_strings_of_any_kind() -> None:
    odd = manifest(description='tab\t "quotes" \\ \n ü 🐕', scores={"clip accuracy, fold 4": 0.5, "plain": 1.0})
    assert msgspec.convert(tomllib.loads(to_toml(odd)), type(odd)) == odd


def test_a_bundle_is_replaced_at_once(made: Bundle, folder: Path) -> None:
    (folder / "stale").write_text("of the bundle before")
    again = write_bundle(folder, manifest(description="newer"), {"model.onnx": made.contents["model.onnx"]})
    assert again.manifest.description == "newer"
    assert sorted(os.listdir(folder)) == [MANIFEST, "model.onnx"]
    assert os.listdir(folder.parent) == ["tiny"]


def test_a_bundle_that_contradicts_itself_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(EarwitnessError, match="no threshold for 'low'"):
        write_bundle(tmp_path / "tiny", manifest(thresholds={"high": 0.5}), {"model.onnx": b""})
    assert not list(tmp_path.iterdir())


def test_a_changed_file_is_refused(folder: Path) -> None:
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(data)
    assert "model.safetensors was changed: its SHA-256" in refusal(folder)


def test_a_shortened_file_is_refused(folder: Path) -> None:
    os.truncate(folder / "model.onnx", 100)
    assert "model.onnx was changed: 100 bytes instead of" in refusal(folder)


def test_a_missing_file_is_refused(folder: Path) -> None:
    (folder / "CREDITS.txt").unlink()
    assert "CREDITS.txt is missing" in refusal(folder)


def test_a_foreign_file_is_refused(folder: Path) -> None:
    (folder / "extra.py").write_text("print('run me')")
    assert "extra.py is foreign" in refusal(folder)


def test_a_foreign_folder_is_refused(folder: Path) -> None:
    (folder / "more").mkdir()
    assert "more is foreign" in refusal(folder)


def test_a_link_is_refused_even_with_the_right_contents(folder: Path) -> None:
    shutil.move(folder / "CREDITS.txt", folder.parent / "elsewhere")
    (folder / "CREDITS.txt").symlink_to(folder.parent / "elsewhere")
    assert "CREDITS.txt is missing, or no plain file" in refusal(folder)


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "sub/file", "..", ".", "", MANIFEST, "a\\\\b"])
def test_a_path_that_leaves_the_folder_is_refused(folder: Path, name: str) -> None:
    spoil(folder, '[files."CREDITS.txt"]', f'[files."{name}"]')
    assert "leaves the folder or is not a plain name" in refusal(folder)


def test_another_format_version_is_refused(folder: Path) -> None:
    spoil(folder, "format_version = 1", "format_version = 2")
    assert "has format version 2; this program reads version 1" in refusal(folder)


def test_a_folder_without_manifest_is_no_bundle(folder: Path) -> None:
    (folder / MANIFEST).unlink()
    assert "has no manifest.toml" in refusal(folder)


def test_a_manifest_without_a_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(to_toml(manifest()))
    assert "lists no model" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("hop_frames = 8", "hop_frame = 8", "unknown key 'hop_frame'; did you mean 'hop_frames'?"),
        ("hop_frames = 8", "hop_frames = 33", "hop_frames is 33"),
        ("hop_frames = 8", "hop_frames = '8'", "Expected `int`"),
        ("hop_frames = 8", "hop_frames = ", "is no TOML"),
        ("low = 0.6", "lov = 0.6", "threshold for 'lov', which is no event; did you mean 'low'?"),
        ("low = 0.6", "low = 1.6", "threshold of 'low' is 1.6"),
        ("low = 0.6", "background = 0.6", "threshold for 'background', which is no event"),
        ('background = "background"', 'background = "backgrund"', "did you mean 'background'?"),
        ('labels = ["high"', 'labels = ["low"', "each once"),
        ("shape = [0, 32, 64]", "shape = [0, 32, 40]", "window and front end give [0, 32, 64]"),
        ('window = "hann"', 'window = "han"', "did you mean 'hann'?"),
        ("temperature = 1.5", "temperature = 0.0", "temperature is 0.0"),
        ('activation = "softmax"', 'activation = "softmin"', "softmin"),
    ],
)
def test_a_manifest_that_cannot_work_is_refused_in_one_line(folder: Path, old: str, new: str, complaint: str) -> None:
    spoil(folder, old, new)
    assert complaint in refusal(folder)


def test_a_misspelt_name_gets_the_nearest_one(made: Bundle) -> None:
    with pytest.raises(EarwitnessError, match="no model 'tini': did you mean 'tiny'"):
        find_bundle("tini", made.path.parent)


def test_a_bundle_is_found_by_name_and_by_path(made: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bundle_names(made.path.parent) == ["tiny"]
    assert find_bundle("tiny", made.path.parent) == made
    assert find_bundle(made.path) == made
    monkeypatch.chdir(made.path.parent)
    assert find_bundle("tiny").manifest == made.manifest
