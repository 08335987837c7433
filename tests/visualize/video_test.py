"""Videos hold the pictures that they were given, and play in a browser."""

import http.server
import os
import queue
import shutil
import subprocess
import threading
import urllib.parse

import cv2
import numpy as np
import pytest

from mdm_jax.visualize import video


def test_pictures_stand_side_by_side_under_their_captions():
    red, blue = (np.zeros((31, 50, 3), np.uint8) for _ in range(2))
    red[..., 0], blue[..., 2] = 200, 180
    whole = video.side_by_side({"red": red, "blue": blue[:10, :20]})
    assert whole.shape[1] == 100 and not whole.shape[0] % 2
    assert (whole[-5, 5] == [200, 0, 0]).all() and (whole[-5, 95] == [0, 0, 180]).all()
    assert (whole[:20, :50] < 100).any(), "a caption is written"
    assert video.side_by_side({"a": red}, largest_width=24).shape[1] == 24


def test_frames_of_a_video_come_back(tmp_path):
    path = tmp_path / "a.webm"
    with video.VideoWriter(path, frames_per_second=12) as film:
        for level in (20, 120, 220):
            film.write(np.full((32, 48, 3), [level, 0, 60], np.uint8))
        with pytest.raises(ValueError, match="one size"):
            film.write(np.zeros((32, 50, 3), np.uint8))
    capture = cv2.VideoCapture(str(path))
    assert capture.get(cv2.CAP_PROP_FPS) == 12
    means = []
    while (read := capture.read())[0]:
        means.append(read[1][..., ::-1].mean(axis=(0, 1)))
    expected = [[20, 0, 60], [120, 0, 60], [220, 0, 60]]
    np.testing.assert_allclose(means, expected, atol=8)


def test_a_video_that_cannot_be_written_is_named_and_leaves_nothing(tmp_path):
    path = tmp_path / "a.webm"
    film = video.VideoWriter(path, frames_per_second=-1)
    with pytest.raises(OSError, match=r"a\.webm cannot be written"), film:
        film.write(np.zeros((32, 48, 3), np.uint8))
    with pytest.raises(KeyError), video.VideoWriter(path, frames_per_second=1) as film:
        film.write(np.zeros((32, 48, 3), np.uint8))
        raise KeyError
    assert not list(tmp_path.iterdir())


def test_opening_a_video_prints_nothing(tmp_path, capfd):
    with video.VideoWriter(tmp_path / "a.webm", frames_per_second=12) as film:
        film.write(np.zeros((32, 48, 3), np.uint8))
    assert capfd.readouterr().err == ""
    os.write(2, b"errors are still shown")
    assert capfd.readouterr().err == "errors are still shown"


def test_a_video_plays_in_a_browser(tmp_path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium is installed")
    with video.VideoWriter(tmp_path / "a.webm", frames_per_second=10) as film:
        for level in range(20):
            film.write(np.full((48, 64, 3), 10 * level, np.uint8))
    reports = queue.Queue()

    class Reports(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            reports.put(urllib.parse.unquote(self.path.removeprefix("/")))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Reports) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = tmp_path / "page.html"
        # It reports a frame in the middle after it was decoded and drawn.
        page.write_text(
            """<!doctype html><video src="a.webm" muted></video><script>
const video = document.querySelector("video");
const report = (...words) => {
  new Image().src = "http://127.0.0.1:PORT/" + encodeURIComponent(words.join(" "));
};
video.onerror = () => { report("error", video.error.message); };
video.onloadedmetadata = () => { video.currentTime = 1.05; };
video.onseeked = () => {
  const context = document.createElement("canvas").getContext("2d");
  context.drawImage(video, 0, 0);
  const level = context.getImageData(20, 20, 1, 1).data[0];
  report("played", video.duration, video.videoWidth, video.videoHeight, level);
};
</script>""".replace("PORT", str(server.server_port))
        )
        command = [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu"),
            *("--allow-file-access-from-files", "--remote-debugging-port=0"),
            *(f"--user-data-dir={tmp_path / 'profile'}", page.as_uri()),
        ]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            report = reports.get(timeout=120)
        finally:
            process.terminate()
            process.wait()
            server.shutdown()
    verdict, *numbers = report.split()
    assert verdict == "played", report
    duration, width, height, level = map(float, numbers)
    assert duration == pytest.approx(2.0, abs=0.11)
    assert (width, height) == (64, 48)
    assert level == pytest.approx(100, abs=15)
