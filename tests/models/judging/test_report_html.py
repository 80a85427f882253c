"""The page: whole in itself, safe against odd names, and with all that it promises."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import numpy as np
import pytest
import soundfile

pytest.importorskip("sklearn", reason="figures are counted by scikit-learn (extra train)")
pytest.importorskip("onnx", reason="the test's models are made with onnx (extra train)")
pytest.importorskip("matplotlib", reason="spectrograms are painted by matplotlib (extra train)")

from earwitness.models.bundle import Bundle
from earwitness.models.data.clip import Clip, Dataset
from earwitness.models.data.datasets import open_dataset
from earwitness.models.evaluate import evaluate_bundle, hear
from earwitness.models.judging.judgement import FalseAlarms, judge
from earwitness.models.judging.report_html import report_page, write_report
from earwitness.stream.errors import EarwitnessError

from ..hearers import hearer
from ..scene import SR, tone

VOID = {"meta", "img", "link", "br"}


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Takes high for low and low for high."""
    return hearer(tmp_path_factory.mktemp("bundles"), ["low", "high", "middle", "background"])


class Page(HTMLParser):
    """Tags, addresses, and whether every tag that opens is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_holds_all_that_it_shows(wrong: Bundle, tones: Path, tmp_path: Path) -> None:
    path = tmp_path / "new" / "page.html"
    evaluate_bundle(wrong, "tones", tones, page=path)
    text = path.read_text()
    page = Page(text)
    assert not page.open
    assert "script" not in page.tags
    assert page.addresses
    assert all(address.startswith("data:") for address in page.addresses)
    assert not re.search(r"url\(|@import|http", text)
    assert "prefers-color-scheme: dark" in text
    titles = re.findall(r"<h2>(.*?)</h2>", text)
    assert titles == [
        "Classes", "What was taken for what", "How sure, and how often right", "Precision over recall", "Worst heard",
    ]  # fmt: skip
    assert page.tags.count("figure") == 2 + 12  # reliability of clips and windows; the worst of 16 clips that are wrong
    assert text.count("data:image/png") == text.count("data:audio/flac") == 12
    assert "high named low: 8 of 8" in text


def test_a_page_of_a_model_that_is_always_right_says_so(tones: Path, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    evaluate_bundle(hearer(tmp_path), "tones", tones, page=path)
    assert "Every clip was named right." in path.read_text()


def test_names_are_no_markup(wrong: Bundle, tones: Path) -> None:
    hearing = hear(wrong, open_dataset("tones", tones), tones, (1,))
    odd = msgspec.structs.replace(
        judge(hearing), model="<b>&", notes=["<script>alert(1)</script>"],
        false_alarms={"room <i>": FalseAlarms(seconds=60, events=1, per_hour=60, labels={"<u>": 1})},
    )  # fmt: skip
    page = Page(report_page(odd, hearing, wrong))
    assert "script" not in page.tags
    assert "u" not in page.tags
    assert not page.open


def test_a_clip_with_no_window_is_no_obstacle(wrong: Bundle, tmp_path: Path) -> None:
    from ..scene import write_data

    root = write_data(tmp_path / "data", clips_per_fold=1)
    soundfile.write(next((root / "tones" / "audio").glob("1-*-0.wav")), np.zeros(10), 16000)
    evaluate_bundle(wrong, "tones", root, page=tmp_path / "page.html")
    assert not Page((tmp_path / "page.html").read_text()).open


def test_a_long_clip_is_shown_in_part_and_many_examples_make_no_large_page(wrong: Bundle, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    clips = []
    for number, label in enumerate(["high", "low"]):
        path = tmp_path / f"{label}.wav"
        soundfile.write(path, np.tile(tone(rng, label), 60), SR)
        clips.append(Clip(path, label, 1, f"{number}"))
    hearing = hear(wrong, Dataset("long", tmp_path, tuple(clips), "made"))
    page = report_page(judge(hearing, "window"), hearing, wrong)
    assert "120.0 s" in page
    sounds = [base64.b64decode(each) for each in re.findall(r"data:audio/flac;base64,([^\"]+)", page)]
    assert [soundfile.info(io.BytesIO(sound)).duration for sound in sounds] == [30.0, 30.0]
    assert max(map(len, re.findall(r'<svg class="small".*?</svg>', page))) < 20_000


def test_where_it_cannot_be_written_is_one_line(wrong: Bundle, tones: Path, tmp_path: Path) -> None:
    hearing = hear(wrong, open_dataset("tones", tones), tones, (1,))
    (tmp_path / "file").write_text("")
    with pytest.raises(EarwitnessError, match="cannot write"):
        write_report(tmp_path / "file" / "page.html", judge(hearing), hearing, wrong)
