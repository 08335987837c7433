"""Test of the command `datasets/build.py`, killed in the middle and run again."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import cv2
import numpy as np

COMMAND = pathlib.Path(__file__).resolve().parents[2] / "datasets" / "build.py"


def _frames(folder, count):
    rng = np.random.default_rng(0)
    for index in range(count):
        image = rng.integers(0, 256, (40, 52, 3)).astype(np.uint8)
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{index:03d}.png"), image)


def _start(source, data_dir, *flags):
    return subprocess.Popen(
        [
            sys.executable,
            str(COMMAND),
            "video",
            f"--source={source}",
            f"--data_dir={data_dir}",
            "--size=32x48",
            "--intrinsics=fov:60",
            *flags,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=source.parent,
    )


def test_a_killed_command_leaves_nothing_running_and_goes_on(tmp_path):
    source, data_dir = tmp_path / "a drive ü", tmp_path / "out"
    _frames(source, 400)
    flags = ("--frames_per_shard=10", "--num_processes=2")
    first = _start(source, data_dir, *flags)
    deadline = time.monotonic() + 300
    while not list(data_dir.rglob("*.array_record*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    children = pathlib.Path(f"/proc/{first.pid}/task/{first.pid}/children")
    workers = [int(pid) for pid in children.read_text().split()]
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    assert len(workers) >= 2
    deadline = time.monotonic() + 60
    while any(map(_is_running, workers)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(map(_is_running, workers))
    assert not list(data_dir.rglob("dataset_info.json"))
    kept = {p.name: p.stat().st_mtime_ns for p in data_dir.rglob("*.array_record*")}
    again = _start(
        source, data_dir, "--frames_per_shard=10", "--num_processes=1", "--verify"
    )
    output, errors = again.communicate()
    assert again.returncode == 0, errors
    folder = pathlib.Path(output.splitlines()[-1])
    assert folder == data_dir / "video" / "32x48" / "1.0.0"
    assert "400 frames of 400" in output
    assert "are as they were written" in output
    report = json.loads((folder / "report.json").read_text())
    assert report["frames"] == 400
    assert report["shards"] == len(list(folder.glob("*.array_record-*"))) == 40
    noted = [name for name in kept if not name.startswith(".")]
    unchanged = [(folder / n).stat().st_mtime_ns == kept[n] for n in noted]
    # One may have been renamed without its notes.
    assert sum(unchanged) >= len(noted) - 2


def _is_running(pid):
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
