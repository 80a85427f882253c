"""The table of messages: what it promises to everybody who reads it."""

from __future__ import annotations

import subprocess
import sys
from typing import get_args

from earwitness.stream.messages import BY_NAME, CHANNELS, TOPICS, Delivery, Message, reference_page, topic_of


def test_every_row_names_a_channel_a_delivery_and_somebody_who_listens() -> None:
    assert len(BY_NAME) == len(TOPICS)
    for row in TOPICS:
        assert row.channel in CHANNELS
        assert row.delivery in get_args(Delivery)
        assert row.subscribers
        assert "/" not in row.name
        assert 0 < len(row.name) < 16
        assert 0 < row.max_bytes <= 16 << 20
    assert {row.channel for row in TOPICS} == set(CHANNELS)


def test_every_message_is_in_the_table_and_says_whose_it_is() -> None:
    kinds = {kind for row in TOPICS for kind in row.messages}
    assert kinds == set(Message.__subclasses__())
    tags = [kind.__struct_config__.tag for kind in kinds]
    assert len(set(tags)) == len(tags)
    for row in TOPICS:
        owner = row.key.rpartition("/")[2].lower()
        for kind in row.messages:
            assert owner in kind.__struct_fields__, f"{kind.__name__} under {row.name}/{row.key}"
            assert (kind.__doc__ or "").strip()


def test_lossless_channels_make_no_circle() -> None:
    """Back-pressure runs from sink to source: nobody publishes upstream of what it listens to."""
    order = {channel: position for position, channel in enumerate(CHANNELS)}
    for node in {row.publisher for row in TOPICS if row.publisher != "any node"}:
        heard = [order[row.channel] for row in TOPICS if node in row.subscribers and row.delivery == "lossless"]
        said = [order[row.channel] for row in TOPICS if row.publisher == node and row.delivery == "lossless"]
        assert max(heard, default=-1) < min(said, default=len(order)), node


def test_a_topic_is_its_name_and_key() -> None:
    assert topic_of("audio", "kitchen") == "audio/kitchen"
    assert topic_of("scores", "esc50-cnn@4f1c2a", "kitchen") == "scores/esc50-cnn@4f1c2a/kitchen"


def test_the_module_prints_its_reference_page() -> None:
    command = [sys.executable, "-m", "earwitness.stream.messages"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed == reference_page()
    for row in TOPICS:
        assert f"| `{row.name}/{row.key}` | {row.channel} | {row.publisher} |" in printed
        for kind in row.messages:
            assert f"\n## {kind.__name__}\n" in printed
            for field in kind.__struct_fields__:
                assert f"- `{field}`: " in printed
