"""Annotation on synthetic drives: how many objects are linked correctly, and how fast.

    python benchmarks/annotation.py --output=annotation.json
    python benchmarks/annotation.py --write=drives --num_drives=80 --num_frames=20

The first command degrades the true masks of validation drives (new ids in every frame,
eroded, 10 % missing, 5 % split) and counts correct links, with exact flow and with DIS;
it also measures the time of DIS on frames of 512x1024.

The second command writes the drives that `configs/synthetic.py` trains on, larger,
with such masks. To train on tracks of these masks:

    python -m mdm_jax.annotate --input=drives/frames --masks=drives/masks \\
        --min_pixels=20 --output=tracked
    python -m mdm_jax.main --config=configs/synthetic.py:instance_motion \\
        --workdir=runs/annotated --config.dataset.masks=tracked
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import time

import cv2
import link_quality  # beside this script
import numpy as np
import tqdm
from absl import app, flags

from mdm_jax import settings
from mdm_jax.annotation import clip_annotation, linking
from mdm_jax.flow import flow_sources
from mdm_jax.masks import instances
from mdm_jax.recording import true_motion
from mdm_jax.synthetic import rendered_drives

_OUTPUT = flags.DEFINE_string("output", "", "JSON file for the results.")
_WRITE = flags.DEFINE_string(
    "write", "", "Write drives to this folder instead, see above."
)
_DRIVES = flags.DEFINE_integer("num_drives", 6, "Number of drives.")
_FRAMES = flags.DEFINE_integer("num_frames", 20, "Frames per drive.")
_SIZE = flags.DEFINE_string("size", "144x480", "HEIGHTxWIDTH of the frames.")
_SEED = flags.DEFINE_integer(
    "seed", 0, "Seed of the drives, as dataset.synthetic_seed."
)

_OPTIONS = linking.Options(min_pixels=20)


def measure_quality() -> dict[str, dict[str, float]]:
    """Returns precision and recall of links, by source of flow."""
    totals = {
        name: link_quality.Quality() for name in ("exact", "dis", "dis, paper's match")
    }
    paper = dataclasses.replace(_OPTIONS, lenient=False)
    for index in tqdm.trange(_DRIVES.value, desc="drives"):
        drive = _drive("validation", index)
        assert drive.instance_labels is not None  # True for synthetic drives.
        flows = {
            (i, j): true_motion.optical_flow(drive, i, j).astype(np.float32)
            for i in range(_FRAMES.value)
            for j in (i - 1, i + 1)
            if 0 <= j < _FRAMES.value
        }

        def exact(first, second, flows=flows):
            return flows[first.index, second.index]

        for name, flow, options in (
            ("exact", exact, _OPTIONS),
            ("dis", flow_sources.dense_inverse_search, _OPTIONS),
            ("dis, paper's match", flow_sources.dense_inverse_search, paper),
        ):
            totals[name] += link_quality.measure(
                drive.frames, drive.instance_labels, flow, seed=index, options=options
            )
    return {
        name: {
            **dataclasses.asdict(total),
            "precision": round(total.precision, 4),
            "recall": round(total.recall, 4),
        }
        for name, total in totals.items()
    }


def measure_speed() -> dict[str, float]:
    """Returns seconds for 30 frames of 512x1024 with ten objects and DIS flow."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (540, 1100, 3)).astype(np.uint8)
    ground = cv2.GaussianBlur(noise, (7, 7), 2)
    labels = np.zeros((540, 1100), np.uint8)
    for number in range(1, 11):
        y, x = rng.integers(30, 400), rng.integers(70, 900)
        labels[y : y + 80, x : x + 120] = number
    images = [ground[i // 2 :, 2 * i :][:512, :1024] for i in range(30)]
    maps = [labels[i // 2 :, 2 * i :][:512, :1024] for i in range(30)]
    wall, cpu = time.perf_counter(), time.process_time()
    clip_annotation.annotate_images(
        images, lambda frame: instances.from_label_map(maps[frame.index])
    )
    return {
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
    }


def write_drives(root: pathlib.Path) -> None:
    """Writes frames and degraded masks of training drives as PNG."""
    for index in tqdm.trange(_DRIVES.value, desc="drives"):
        drive = _drive("train", index)
        assert drive.instance_labels is not None
        rng = np.random.default_rng(index)
        folders = [root / kind / drive.name for kind in ("frames", "masks")]
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        for i, frame in enumerate(drive.frames):
            degraded = link_quality.degrade(drive.instance_labels[i], rng)
            masks = instances.resolve_overlaps(degraded.masks).astype(np.uint8)
            for folder, image in zip(folders, (frame[..., ::-1], masks), strict=True):
                cv2.imwrite(str(folder / f"{i:06d}.png"), image)


def _drive(split: str, index: int):
    """Returns a drive as `rendered_drives.make_drives` makes it."""
    return rendered_drives.make_drive(
        (_SEED.value, rendered_drives.SPLITS.index(split), index),
        num_frames=_FRAMES.value,
        size=settings.parse_size(_SIZE.value),
        name=f"synthetic_{split}_{index}",
    )


def main(argv: list[str]):
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: options start with --")
    cv2.setNumThreads(1)
    if _WRITE.value:
        write_drives(pathlib.Path(_WRITE.value))
        return
    results = {
        "drives": [_DRIVES.value, _FRAMES.value, _SIZE.value],
        "quality": measure_quality(),
        "speed_512x1024": measure_speed(),
    }
    text = json.dumps(results, indent=1)
    print(text)
    if _OUTPUT.value:
        pathlib.Path(_OUTPUT.value).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    app.run(main)
