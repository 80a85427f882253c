"""stream/sources/network.py against a web server that stops, stalls, comes back and changes its rate."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import soundfile

from earwitness.stream.errors import EarwitnessError
from earwitness.stream.sources import network
from earwitness.stream.sources.network import NetworkStream, without_secrets
from earwitness.stream.sources.source import Samples, SourceGone, SourceSpec

pytest.importorskip("av", reason="needs the extra `network`")


class Server:
    """Answers every request with `body`, then closes, or with `stalls` stays silent until the test is over."""

    def __init__(self) -> None:
        self.body = b""
        self.status = 200
        self.stalls = False
        self.over = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(server.status)
                self.send_header("Content-Type", "audio/wav")
                self.end_headers()
                try:
                    self.wfile.write(server.body)
                    if server.stalls:
                        self.wfile.flush()
                        server.over.wait(20)
                except OSError:
                    pass

            def log_message(self, *args: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://me:secret@127.0.0.1:{self._http.server_port}/live.wav?token=1"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        self.over.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def sound(seconds: float, rate: int, channels: int = 1) -> np.ndarray:
    return (np.random.default_rng(0).standard_normal((round(seconds * rate), channels)) * 3000).astype(np.int16)


def encoded(samples: np.ndarray, rate: int, kind: str = "WAV", subtype: str = "PCM_16") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind, subtype=subtype)
    return file.getvalue()


def stream(server: Server, channel: int | None = None) -> NetworkStream:
    return NetworkStream(SourceSpec(name="n", kind="network", target=server.url, channel=channel))


def read_until_gone(source: NetworkStream, seconds: float = 10.0) -> tuple[Samples, str]:
    """All samples, and why there are no more."""
    heard = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            chunk = source.read(1000)
        except SourceGone as error:
            return np.concatenate(heard), str(error)
        assert chunk is not None
        assert chunk.lost == 0
        heard.append(chunk.samples)
        if not len(chunk.samples):
            time.sleep(0.005)
    raise AssertionError("it is never gone")


@pytest.mark.timeout(30)
def test_every_sample_of_a_stream_is_heard_until_it_ends(server: Server) -> None:
    server.body = encoded(sound(1.0, 22_050, 2), 22_050)
    source = stream(server)
    format = source.open()
    assert (format.rate, format.channels, format.dtype) == (22_050, 2, "int16")
    heard, why = read_until_gone(source)
    source.close()
    assert np.array_equal(heard, sound(1.0, 22_050, 2))
    assert "127.0.0.1" in why
    assert "secret" not in why + format.description
    assert "token" not in why + format.description


@pytest.mark.timeout(30)
def test_a_stream_that_comes_back_at_another_rate_is_opened_at_that_rate(server: Server) -> None:
    source = stream(server)
    for rate in (16_000, 44_100):
        server.body = encoded(sound(0.5, rate), rate)
        assert source.open().rate == rate
        assert len(read_until_gone(source)[0]) == rate // 2
    source.close()


@pytest.mark.timeout(30)
def test_two_seconds_without_sound_mean_gone(server: Server) -> None:
    server.body = encoded(sound(6.0, 16_000), 16_000)[:150_000]
    server.stalls = True
    source = stream(server)
    source.open()
    began = time.monotonic()
    heard, why = read_until_gone(source)
    source.close()
    assert 1.0 < time.monotonic() - began < 5.0
    assert 30_000 < len(heard) <= 75_000
    assert "127.0.0.1" in why


@pytest.mark.timeout(30)
def test_mp3_is_delivered_as_float_and_one_channel_can_be_chosen(server: Server) -> None:
    server.body = encoded(sound(1.0, 48_000, 2), 48_000, "MP3", "MPEG_LAYER_III")
    source = stream(server, channel=1)
    format = source.open()
    assert (format.rate, format.channels, format.dtype) == (48_000, 1, "float32")
    heard, _ = read_until_gone(source)
    source.close()
    assert heard.shape[1] == 1
    assert len(heard) == pytest.approx(48_000, abs=4000)


@pytest.mark.timeout(30)
def test_a_server_that_is_not_there_refuses_or_sends_no_sound_is_gone_and_says_why(server: Server) -> None:
    source = stream(server)
    server.status = 404
    with pytest.raises(SourceGone, match=r"127\.0\.0\.1.*: .*404"):
        source.open()
    server.status, server.body = 200, b"this is no sound" * 100
    with pytest.raises(SourceGone, match=r"127\.0\.0\.1"):
        source.open()
    nobody = NetworkStream(SourceSpec(name="n", kind="network", target="http://127.0.0.1:9/x"))
    with pytest.raises(SourceGone, match="refused"):
        nobody.open()


@pytest.mark.timeout(30)
def test_a_channel_that_is_not_there_is_for_a_person_to_mend(server: Server) -> None:
    server.body = encoded(sound(0.5, 16_000), 16_000)
    source = stream(server, channel=2)
    with pytest.raises(EarwitnessError, match="no channel 2"):
        source.open()
    source.close()


def test_without_pyav_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(EarwitnessError, match=r"pip install 'earwitness\[network\]'"):
        network.import_av()


def test_an_address_is_shown_without_its_secrets() -> None:
    assert without_secrets("rtsp://me:secret@[::1]:554/live?token=1") == "rtsp://[::1]:554/live"
