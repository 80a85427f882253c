"""Clips: settings that make sense, names that any system takes, sound that comes back as it was."""

from __future__ import annotations

import io
import re

import msgspec
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from earwitness.stream.clip_table import COLUMNS
from earwitness.stream.clips import ClipGap, ClipRecord, Keep, RecorderSettings, clip_fields, safe_name
from earwitness.stream.errors import EarwitnessError
from earwitness.stream.flac import encode_sound


def decoded(data: bytes, dtype: str) -> np.ndarray:
    samples, _ = soundfile.read(io.BytesIO(data), dtype=dtype, always_2d=True)
    return samples


class TestSettings:
    def test_defaults_hold_and_are_plain_toml(self) -> None:
        tree = msgspec.to_builtins(RecorderSettings())
        assert msgspec.convert(tree, RecorderSettings) == RecorderSettings()
        assert RecorderSettings().keeps("dog") == Keep(rule="all")

    def test_a_label_has_its_own_rule_and_the_star_stands_for_the_rest(self) -> None:
        table = {
            "keep": {
                "dog": {"rule": "best", "count": 20},
                "rain": {"rule": "none"},
                "*": {"rule": "newest", "count": 5},
            }
        }
        settings = msgspec.convert(table, RecorderSettings)
        assert settings.keeps("dog") == Keep(rule="best", count=20)
        assert settings.keeps("rain").rule == "none"
        assert settings.keeps("cat").rule == "newest"

    @pytest.mark.parametrize(
        ("values", "named"),
        [
            ({"pre_roll_s": -1}, "pre_roll_s"),
            ({"post_roll_s": float("nan")}, "post_roll_s"),
            ({"max_clip_s": 2.0}, "max_clip_s"),
            ({"history_s": 30.0}, "history_s"),
            ({"quota_bytes": -1}, "quota_bytes"),
            ({"min_free_bytes": -1}, "min_free_bytes"),
            ({"max_age_days": 0.0}, "max_age_days"),
        ],
    )
    def test_impossible_values_are_refused_in_one_line_that_names_them(self, values: dict, named: str) -> None:
        with pytest.raises(EarwitnessError, match=named) as refusal:
            RecorderSettings(**values)
        assert "\n" not in str(refusal.value)

    @pytest.mark.parametrize(("rule", "count"), [("newest", 0), ("best", -1), ("none", 3), ("all", 1)])
    def test_a_rule_and_its_count_must_fit(self, rule: str, count: int) -> None:
        with pytest.raises(EarwitnessError, match=f"recorder.keep: '{rule}'"):
            Keep(rule=rule, count=count)

    def test_unknown_keys_and_rules_are_refused(self) -> None:
        with pytest.raises(msgspec.ValidationError, match="preroll"):
            msgspec.convert({"preroll": 1.0}, RecorderSettings)
        with pytest.raises(msgspec.ValidationError, match="oldest"):
            msgspec.convert({"keep": {"dog": {"rule": "oldest", "count": 3}}}, RecorderSettings)


class TestNames:
    @given(st.text(max_size=300))
    def test_any_text_becomes_a_name_that_every_system_takes(self, text: str) -> None:
        name = safe_name(text)
        assert re.fullmatch(r"[\w.-]+", name)
        assert not name.startswith(".")
        assert not name.endswith(".")
        assert len(name.encode()) <= 164
        assert not re.match(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)", name)

    @pytest.mark.parametrize("text", ["..", ".", "../../etc/passwd", "/", "", "NUL.txt", "a\0b", "C:\\x", "-"])
    def test_names_that_would_lead_elsewhere_lead_nowhere(self, text: str) -> None:
        name = safe_name(text)
        assert "/" not in name
        assert "\\" not in name
        assert name not in ("", ".", "..")

    def test_labels_keep_their_letters(self) -> None:
        assert safe_name("door_wood_knock") == "door_wood_knock"
        assert safe_name("Hündin, bellend") == "Hündin-bellend"


class TestRow:
    def test_tells_where_the_event_is_in_the_clip_and_how_much_of_it_is_lost(self) -> None:
        record = ClipRecord(
            id="1",
            label="dog, small",
            score=0.93,
            stream="a",
            epoch=1,
            utc="2026-11-21T10:00:12.340Z",
            utc_error_ms=1.0,
            model="m@1",
            onset_sample=10_000,
            offset_sample=14_000,
            rate=8_000,
            channels=1,
            dtype="int16",
            encoding="FLAC PCM_16",
            first_sample=2_000,
            end_sample=22_000,
            duration_s=2.5,
            pre_roll_s=1.0,
            post_roll_s=1.0,
            gaps=(ClipGap(first_sample=3_000, end_sample=5_000, cause="overrun"),),
        )
        fields = clip_fields(record)
        assert tuple(fields) == COLUMNS
        assert (fields["onset_s"], fields["offset_s"], fields["gap_s"]) == ("1.000", "1.500", "0.250")
        assert (fields["label"], fields["score"], fields["review"]) == ("dog, small", "0.9300", "")


class TestSound:
    @pytest.mark.parametrize("rate", [1, 8_000, 11_025, 44_100, 48_000, 65_535, 96_000, 192_000, 655_350])
    def test_16_bits_come_back_bit_for_bit_at_any_rate(self, rate: int) -> None:
        samples = np.random.default_rng(rate).integers(-32768, 32768, (5000, 2)).astype(np.int16)
        sound = encode_sound(samples, rate)
        assert (sound.suffix, sound.encoding, sound.notes) == (".flac", "FLAC PCM_16", ())
        assert soundfile.info(io.BytesIO(sound.data)).samplerate == rate
        np.testing.assert_array_equal(decoded(sound.data, "int16"), samples)

    @pytest.mark.parametrize("channels", [1, 2, 3, 8])
    def test_24_bits_in_int32_come_back_bit_for_bit_with_every_channel(self, channels: int) -> None:
        samples = np.random.default_rng(0).integers(-(1 << 23), 1 << 23, (3000, channels)).astype(np.int32) << 8
        sound = encode_sound(samples, 48_000)
        assert (sound.encoding, sound.notes) == ("FLAC PCM_24", ())
        np.testing.assert_array_equal(decoded(sound.data, "int32"), samples)

    def test_32_bits_are_cut_to_24_and_it_says_so(self) -> None:
        sound = encode_sound(np.full((10, 1), 0x12345678, np.int32), 48_000)
        assert sound.notes == ("32-bit samples were cut to 24 bits",)
        assert (decoded(sound.data, "int32") == 0x12345600).all()

    def test_floats_are_rounded_to_24_bits_limited_and_counted(self) -> None:
        samples = np.zeros((70_000, 1), np.float32)
        samples[:6, 0] = [0.5, -1.0, 1.0, 1.5, -7.0, np.nan]
        samples[-2:, 0] = [np.inf, -np.inf]
        sound = encode_sound(samples, 44_100)
        assert sound.notes == (
            "5 samples beyond full scale were limited to it",
            "1 samples that were no numbers became 0",
        )
        back = decoded(sound.data, "int32")[:, 0] >> 8
        top, bottom = (1 << 23) - 1, -(1 << 23)
        assert back[:6].tolist() == [1 << 22, bottom, top, top, bottom, 0]
        assert back[-2:].tolist() == [top, bottom]

    @given(st.lists(st.floats(-1, 1, width=32, exclude_max=True), min_size=1, max_size=200))
    def test_floats_within_full_scale_are_off_by_half_a_step_of_24_bits_at_most(self, values: list[float]) -> None:
        samples = np.array(values, np.float32)[:, None]
        back = decoded(encode_sound(samples, 16_000).data, "float64")
        assert np.abs(back - samples).max() <= 1.0 / (1 << 23)  # half a step, a whole one next to full scale

    @pytest.mark.parametrize(("rate", "channels"), [(655_351, 1), (48_000, 9), (768_000, 2), (65_537, 1)])
    def test_what_flac_cannot_hold_becomes_wav_and_says_so(self, rate: int, channels: int) -> None:
        samples = np.random.default_rng(0).integers(-32768, 32768, (100, channels)).astype(np.int16)
        sound = encode_sound(samples, rate)
        assert (sound.suffix, sound.encoding) == (".wav", "WAV PCM_16")
        assert sound.notes == (f"WAV, since FLAC does not hold {channels} channels at {rate} Hz",)
        np.testing.assert_array_equal(decoded(sound.data, "int16"), samples)

    def test_big_endian_or_strided_samples_are_no_trap(self) -> None:
        samples = np.arange(400, dtype=np.int16).reshape(100, 4)[::2, ::2]
        np.testing.assert_array_equal(decoded(encode_sound(samples, 8_000).data, "int16"), samples)
