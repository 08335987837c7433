"""Two-view geometry against truth, on sequences of KITTI odometry: error and time.

    python benchmarks/two_view.py --footage=DIR --every=4 --output=two_view.json

`DIR/kitti_odometry` has sequences `00` and `03` with poses, as the benchmark is
published; `DIR/stereo_truth/kitti_odometry_00/NNNNNN.png` has depth in 1/256 m of the
frame NNNNNN of sequence 00, 0 where unknown, in any size. Measures

- the depth of sequence 00 at full size and 496 pixels wide: Abs Rel of trusted pixels,
  scaled by the median of each frame, and the share of the truth that is trusted;
- egomotion of sequences 00 and 03, 496 pixels wide: angles of direction and rotation;
- processor seconds per pair on one thread, flow in both directions included.

Pairs that are not `moving` have no depth: their share of the truth is 0, and they count
in no other mean or median.
"""

from __future__ import annotations

import collections
import json
import pathlib
import time
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import tqdm
from absl import app, flags

from mdm_jax.files import image_file
from mdm_jax.files.errors import Problems
from mdm_jax.flow import flow_sources
from mdm_jax.flow.video_frame import Frame
from mdm_jax.geometry import intrinsics as intrinsics_lib
from mdm_jax.geometry import view as view_lib
from mdm_jax.sources import kitti_odometry
from mdm_jax.sources.source import Source
from mdm_jax.two_view import front_end, texture

_FOOTAGE = flags.DEFINE_string(
    "footage", None, "Folder of the footage, see above.", required=True
)
_EVERY = flags.DEFINE_integer(
    "every", 1, "Measure one in so many pairs; in 00 of those with truth."
)
_OUTPUT = flags.DEFINE_string("output", "", "JSON file for the results.")

_WIDTH = 496


def measure(
    source: Source, starts: Sequence[int], width: int, truth: dict[int, np.ndarray]
) -> dict[str, Any]:
    """Returns errors and time of pairs of neighbouring frames.

    Args:
        source: has intrinsics and poses.
        starts: first frames of the pairs.
        width: of the frames, pixels.
        truth: depth by frame, 0 where unknown; may be empty.
    """
    size = (round(source.size[0] * width / source.size[1]), width)
    assert source.intrinsics is not None
    intrinsics = np.asarray(
        intrinsics_lib.resize(source.intrinsics, from_size=source.size, to_size=size)
    )
    cameras = source.world_from_camera()
    if cameras is None:
        raise ValueError(f"{source.path}: expected the poses of the sequence, got none")
    states, values = collections.Counter(), collections.defaultdict(list)
    for start in tqdm.tqdm(starts, desc=f"{source.name}, {width} wide"):
        images = [view_lib.resize_image(source.image(start + i), size) for i in (0, 1)]
        clock = time.process_time()
        one, other = (Frame(i, str(i), image) for i, image in enumerate(images))
        geometry, _ = front_end.front_end(
            flow_sources.dense_inverse_search(one, other),
            flow_sources.dense_inverse_search(other, one),
            intrinsics,
            usable=(texture.textured(one.image), texture.textured(other.image)),
        )
        values["seconds"].append(time.process_time() - clock)
        states[geometry.state] += 1
        if geometry.pose is not None:
            motion = np.linalg.inv(cameras[start + 1]) @ cameras[start]
            cosine = geometry.pose.direction @ motion[:3, 3]
            cosine /= np.linalg.norm(motion[:3, 3])
            values["direction"].append(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
            turn = cv2.Rodrigues(geometry.pose.rotation @ motion[:3, :3].T)[0]
            values["rotation"].append(np.degrees(np.linalg.norm(turn)))
        if start in truth:
            depth = cv2.resize(
                truth[start], size[::-1], interpolation=cv2.INTER_NEAREST
            )
            both = geometry.trusted & (depth > 0)
            values["share"].append(both.sum() / (depth > 0).sum())
            if both.any():
                ratio = geometry.depth[both] / depth[both]
                values["abs_rel"].append(np.abs(ratio / np.median(ratio) - 1).mean())
    results = {
        "size": list(size),
        "pairs": len(starts),
        "states": dict(states),
        "direction_degrees_median": np.median(values["direction"]),
        "rotation_degrees_median": np.median(values["rotation"]),
        "cpu_seconds_per_pair": np.mean(values["seconds"]),
    }
    if truth:
        results["abs_rel"] = np.mean(values["abs_rel"])
        results["share_of_truth"] = np.mean(values["share"])
    return {
        name: round(float(value), 4) if isinstance(value, np.floating) else value
        for name, value in results.items()
    }


def main(argv: list[str]):
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: options start with --")
    cv2.setNumThreads(1)
    footage = pathlib.Path(_FOOTAGE.value).expanduser()
    sequences = {
        source.name: source
        for source in kitti_odometry.open_sources(
            footage / "kitti_odometry", problems=Problems(), camera=0
        )
    }
    first, other = sequences["00"], sequences["03"]
    files = sorted((footage / "stereo_truth" / "kitti_odometry_00").glob("*.png"))
    truth = {
        int(path.stem): image_file.read_labels(path).astype(np.float32) / 256
        for path in files
        if int(path.stem) + 1 < len(first)
    }
    starts = sorted(truth)[:: _EVERY.value]
    results = {
        "every": _EVERY.value,
        "00, full size": measure(first, starts, first.size[1], truth),
        f"00, {_WIDTH} wide": measure(first, starts, _WIDTH, truth),
        f"03, {_WIDTH} wide": measure(
            other, range(0, len(other) - 1, _EVERY.value), _WIDTH, {}
        ),
    }
    text = json.dumps(results, indent=1)
    print(text)
    if _OUTPUT.value:
        pathlib.Path(_OUTPUT.value).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    app.run(main)
