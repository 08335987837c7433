"""Clips per second of the data loader, the time of its stages, and its memory.

    python benchmarks/loader.py [--output=benchmarks/results/NAME.json] [--path=FOLDER]

The clips are three frames of 128x416 from a prepared data set with the default
augmentation, as in training. Without `--path`, frames of synthetic drives with camera
noise are prepared first. Each case runs in a new process on two cores. If the machine is
not idle, use the CPU time: `clips_per_second_by_cpu` is the rate of two cores that have
nothing else to do.
"""

from __future__ import annotations

import json
import os
import pathlib
import platform
import sys
import tempfile
import time
from typing import Any

import fresh_process
from absl import app, flags

_OUTPUT = flags.DEFINE_string("output", "", "JSON file for the results.")
_PATH = flags.DEFINE_string("path", "", "Folder of a prepared data set.")
_CASES = flags.DEFINE_list("cases", [], "Names of the cases; empty for all.")
_CLIPS = flags.DEFINE_integer("clips", 1600, "Timed clips of each case.")

ROOT = pathlib.Path(__file__).resolve().parents[1]
NUM_CORES, CLIP_LENGTH, BATCH_SIZE, SIZE = 2, 3, 16, (128, 416)
NUM_EPOCHS = 10
# Arguments of `loader.make_loader`.
CASES = {
    "two threads": {"augment": {}, "num_threads": 2},
    "two worker processes": {"augment": {}, "num_threads": 1, "num_workers": 2},
    "one thread": {"augment": {}, "num_threads": 1},
    "no augmentation, two threads": {"augment": None, "num_threads": 2},
}


def measure(name: str, path: str, num_clips: int) -> dict[str, object]:
    """Returns the figures of one case; to be called in a fresh process."""
    recordings = _open(path)
    from mdm_jax.input_pipeline import loader

    batches = loader.make_loader(
        recordings,
        clip_length=CLIP_LENGTH,
        batch_size=BATCH_SIZE,
        seed=0,
        **CASES[name],
    )
    iterator = iter(batches)
    for _ in range(8):  # Starts processes and opens files.
        next(iterator)
    started, cpu, count = time.perf_counter(), _cpu_seconds(), 0
    while count < num_clips:
        next(iterator)
        count += BATCH_SIZE
    wall, cpu = time.perf_counter() - started, _cpu_seconds() - cpu
    iterator.close()
    return {
        "case": name,
        "clips_per_second": count / wall,
        "clips_per_second_by_cpu": NUM_CORES * count / cpu,
        "cpu_milliseconds_per_clip": 1e3 * cpu / count,
        "cores_used": cpu / wall,
    }


def memory(path: str) -> dict[str, object]:
    """Returns the memory of this process after each epoch, in megabytes."""
    recordings = _open(path)
    from mdm_jax.input_pipeline import loader

    batches = loader.make_loader(
        recordings, clip_length=CLIP_LENGTH, batch_size=BATCH_SIZE, seed=0, augment={}
    )
    iterator = iter(batches)
    per_epoch = len(batches.source) // BATCH_SIZE
    used = []
    for _ in range(NUM_EPOCHS):
        for _ in range(per_epoch):
            next(iterator)
        used.append(_resident_megabytes())
    iterator.close()
    return {"epochs": NUM_EPOCHS, "megabytes_after_epoch": used}


def stages(path: str, repeats: int = 300) -> dict[str, float]:
    """Returns the CPU milliseconds per clip of each stage, on one thread."""
    import numpy as np

    recordings = _open(path)
    from mdm_jax.input_pipeline import augment, clips, transforms
    from mdm_jax.prepared import records

    table = clips.clip_table(recordings, clip_length=CLIP_LENGTH)
    source = clips.ClipSource(recordings, table)
    frames: Any = recordings[0].frames  # read on demand
    stored = frames._stored._source
    config = augment.AugmentConfig()
    rng = np.random.default_rng(0)
    order = rng.permutation(len(table.index))
    clip = source[0]
    content = stored[0]

    def batch():
        np.stack([clip["frames"]] * BATCH_SIZE)

    functions = {
        "read the records": lambda i: [stored[i % len(stored)]] * CLIP_LENGTH,
        "decode JPEG": lambda i: records.decode(content, "image"),
        "a clip: read, decode, stack": lambda i: source[int(order[i % len(order)])],
        "crop and resize": lambda i: augment.random_crop_resize(
            clip, rng, min_scale=config.min_crop_scale
        ),
        "mirror": lambda i: transforms.flip_horizontal(clip),
        "recolour": lambda i: transforms.transform_colors(
            clip, augment.random_color_matrix(rng, config, clip["frames"])
        ),
    }
    times = {}
    for name, function in functions.items():
        function(0)
        started = time.thread_time()
        for i in range(repeats):
            function(i)
        times[name] = 1e3 * (time.thread_time() - started) / repeats
    for name in ("read the records", "decode JPEG"):
        times[name] *= CLIP_LENGTH
    started = time.thread_time()
    for _ in range(20):
        batch()
    times["stack a batch"] = 1e3 * (time.thread_time() - started) / 20 / BATCH_SIZE
    return times


def _open(path: str):
    sys.path.insert(0, str(ROOT))
    from mdm_jax import config as config_lib
    from mdm_jax.prepared import reading

    dataset = config_lib.base_config().dataset
    dataset.update(name="prepared", path=path, size=SIZE, with_truth=False)
    return reading.open_parts(dataset, held_out="").train


def prepare(data_dir: str) -> str:
    """Prepares synthetic frames with camera noise, and returns the folder."""
    import cv2
    import numpy as np

    from mdm_jax.prepared import build
    from mdm_jax.prepared.options import Options
    from mdm_jax.synthetic import rendered_drives

    drives = rendered_drives.make_drives(
        split="train", num_drives=1, num_frames=100, size=SIZE, seed=0
    )
    rng = np.random.default_rng(0)
    source = pathlib.Path(data_dir) / "frames"
    for number in range(4):
        folder = source / f"drive{number}"
        folder.mkdir(parents=True)
        frames = np.asarray(drives[number % len(drives)].frames)
        for index, frame in enumerate(frames):
            grain = rng.normal(0, 8, frame.shape)
            noisy = np.clip(frame + grain, 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / f"{index:04d}.png"), noisy[..., ::-1])
    options = Options(
        name="video",
        source=str(source),
        data_dir=data_dir,
        size=SIZE,
        intrinsics="fov:70",
    )
    return str(build.build(options, runner=build.on_processes(NUM_CORES)))


def _cpu_seconds() -> float:
    """Returns the CPU time of this process and its living children."""
    ticks = os.sysconf("SC_CLK_TCK")
    total = 0.0
    for process in ["self", *_children()]:
        try:
            text = pathlib.Path(f"/proc/{process}/stat").read_text()
        except FileNotFoundError:
            continue
        fields = text.rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / ticks
    return total


def _children() -> list[str]:
    children: list[str] = []
    for task in pathlib.Path("/proc/self/task").iterdir():
        children += (task / "children").read_text().split()
    return children


def _resident_megabytes() -> float:
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status has no VmRSS")


def _in_fresh_process(expression: str) -> Any:
    cores = sorted(os.sched_getaffinity(0))[:NUM_CORES]
    return fresh_process.call("loader", expression, cores=cores)


def main(argv: list[str]):
    del argv
    unknown = set(_CASES.value) - set(CASES)
    if unknown:
        raise app.UsageError(f"unknown cases {unknown}; there are {list(CASES)}")
    sys.path.insert(0, str(ROOT))
    from mdm_jax.prepared import layout
    from mdm_jax.training import reporting

    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch:
        path = _PATH.value or prepare(scratch)
        index = layout.read_index(layout.find(path))
        num_frames = len(index.timestamp)
        results = []
        for name in _CASES.value or CASES:
            result = _in_fresh_process(f"measure({name!r}, {path!r}, {_CLIPS.value})")
            results.append(result)
            print(json.dumps(result), flush=True)
        times = _in_fresh_process(f"stages({path!r})")
        resident = _in_fresh_process(f"memory({path!r})")
    kilobytes = sum(s.num_bytes for s in index.shards) / num_frames / 1e3
    table = [["case", "clips/s", "by CPU time", "CPU ms/clip", "cores used"]]
    for result in results:
        numbers = [value for value in result.values() if isinstance(value, float)]
        table.append([str(result["case"]), *(f"{number:.3g}" for number in numbers)])
    title = f"loader, {num_frames} frames, {kilobytes:.1f} kB each; load {load:.1f}"
    print(reporting.format_table(title, table))
    rows = [["stage", "CPU ms/clip"], *([k, f"{v:.3g}"] for k, v in times.items())]
    print(reporting.format_table("where the time goes", rows))
    used = resident["megabytes_after_epoch"]
    print(f"memory after each of {NUM_EPOCHS} epochs [MB]: {[round(m) for m in used]}")
    if _OUTPUT.value:
        path = pathlib.Path(_OUTPUT.value)
        path.parent.mkdir(parents=True, exist_ok=True)
        value = {
            "environment": {
                "python": platform.python_version(),
                "machine": platform.machine(),
                "load_average_before": load,
                "cores": NUM_CORES,
            },
            "data": {
                "kind": "given folder" if _PATH.value else "synthetic with grain",
                "frames": num_frames,
                "kilobytes_per_frame": kilobytes,
            },
            "results": results,
            "cpu_milliseconds_per_clip": times,
            "memory": resident,
        }
        path.write_text(json.dumps(value, indent=2) + "\n")


if __name__ == "__main__":
    app.run(main)
