"""Changes of a sample in which the image and everything tied to its pixels move along.

A *sample* is a dictionary of NumPy arrays for one clip of `t` frames:

| key                 | array                                                        |
|---------------------|--------------------------------------------------------------|
| `frames`            | uint8 or float32 `[t h w 3]`                                 |
| `intrinsics`        | `[3 3]`, pixels of these frames, pixel centres at integers   |
| `depth`             | optional `[t h w]`, camera z, 0 where unknown                |
| `instance_labels`   | optional integer `[t h w]`                                   |
| `world_from_camera` | optional `[t 4 4]`                                           |
| `pair_...`          | optional, two-view geometry as in `structs.Batch`            |
| `pixel_map`         | optional `[2 2]`, of the recording's frames to these frames  |

Every function returns a new dictionary, leaves its argument as it is, and passes other
keys on. The law they all obey: a 3D point given in the camera frame projects, with the
new intrinsics, to where its colour is in the new image.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from mdm_jax.geometry import intrinsics
from mdm_jax.geometry import view as view_lib
from mdm_jax.geometry.view import View

Sample = dict[str, Any]

_LABEL_MAPS = ("depth", "instance_labels")
# Where less of a resized pixel is trusted, its inverse depth is not.
_MIN_WEIGHT = 0.1
_PAIR_MAPS = ("pair_inverse_depth", "pair_weight")


def see(sample: Mapping[str, Any], view: View) -> Sample:
    """Returns the sample seen through a view, antialiased.

    Depth and labels take the nearest pixel: a mean of two surfaces or of two ids would
    be neither.
    """
    seen = dict(sample)
    seen["frames"] = np.stack([view.image(frame) for frame in sample["frames"]])
    for key in _LABEL_MAPS:
        if key in seen:
            seen[key] = view.labels(sample[key])
    if "pair_weight" in seen:
        inverse, weight = (map(view.window, sample[key]) for key in _PAIR_MAPS)
        maps = zip(inverse, weight, strict=True)
        if view.size != view.box:
            maps = (resize_inverse_depth(*pair, size=view.size) for pair in maps)
        for key, values in zip(_PAIR_MAPS, zip(*maps)):
            seen[key] = np.stack(values)
    seen["intrinsics"] = view.intrinsics(sample["intrinsics"])
    if "pixel_map" in seen:
        scale = np.array([view.size[1] / view.box[1], view.size[0] / view.box[0]])
        start = np.array([view.x0, view.y0])
        factor, offset = np.asarray(sample["pixel_map"], np.float64).T
        # x'' = (x' - x0 + 0.5) s - 0.5 of x' = factor x + offset.
        moved = (offset - start + 0.5) * scale - 0.5
        seen["pixel_map"] = np.float32(np.stack([factor * scale, moved], axis=1))
    return seen


def resize_inverse_depth(
    inverse_depth: np.ndarray, weight: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns triangulated inverse depth at a size, averaged by its weight, and weight.

    Depth in units of the baseline does not depend on the size of the image.

    Args:
        inverse_depth: `[h w]`.
        weight: `[h w]`, 0 where the depth is not trusted.
        size: (height, width).
    """
    mean = view_lib.resize_image(weight.astype(np.float32), size)
    total = view_lib.resize_image((weight * inverse_depth).astype(np.float32), size)
    known = mean > _MIN_WEIGHT
    return np.where(known, total / np.where(known, mean, 1), 0), mean * known


def flip_horizontal(sample: Mapping[str, Any]) -> Sample:
    """Returns the sample as seen in a mirror: left and right exchanged.

    The mirrored camera sees the mirrored point S X with S = diag(-1, 1, 1), and its
    principal point is (w - 1) - cx. Poses become S P S with S = diag(-1, 1, 1, 1) on
    both sides, so they stay rigid (no reflection); the mirrored world has its own
    x axis reversed too. Then `P_a^-1 P_b` becomes `S (P_a^-1 P_b) S`: turning left
    becomes turning right.
    """
    flipped = dict(sample)
    flipped["frames"] = np.stack([cv2.flip(frame, 1) for frame in sample["frames"]])
    for key in (*_LABEL_MAPS, *_PAIR_MAPS):
        if key in flipped:
            flipped[key] = np.ascontiguousarray(sample[key][:, :, ::-1])
    flipped["intrinsics"] = intrinsics.flip_horizontal(
        sample["intrinsics"], width=sample["frames"].shape[2]
    )
    if "pixel_map" in flipped:
        factor, offset = sample["pixel_map"][0]
        mirrored = [-factor, sample["frames"].shape[2] - 1 - offset]
        flipped["pixel_map"] = np.array([mirrored, sample["pixel_map"][1]], np.float32)
    if "pair_rotation" in flipped:
        mirror = np.array([-1, 1, 1], np.float32)
        flipped["pair_rotation"] = sample["pair_rotation"] * np.outer(mirror, mirror)
        flipped["pair_direction"] = sample["pair_direction"] * mirror
    if "world_from_camera" in flipped:
        mirror = np.array([-1, 1, 1, 1], flipped["world_from_camera"].dtype)
        # S P S scales rows by S and columns by S.
        signs = mirror[:, None] * mirror[None, :]
        flipped["world_from_camera"] = sample["world_from_camera"] * signs[None]
    return flipped


def transform_colors(sample: Mapping[str, Any], matrix: np.ndarray) -> Sample:
    """Returns the sample with every RGB colour c in [0, 1] replaced by `A c + b`.

    Args:
        sample: with uint8 or [0, 1] float frames.
        matrix: `[3 4]`, A and b side by side, the same for all frames of the clip.

    Colours that leave [0, 1] are clipped.
    """
    frames = np.ascontiguousarray(sample["frames"])
    matrix = np.asarray(matrix, np.float64)
    if frames.dtype == np.uint8:
        matrix = matrix * np.array([1, 1, 1, 255.0])[None, :]
    num_frames, height, width, _ = frames.shape
    # One tall image: colours do not know their neighbours.
    colors = cv2.transform(frames.reshape(num_frames * height, width, 3), matrix)
    if frames.dtype != np.uint8:
        colors = np.clip(colors, 0, 1)
    return {**sample, "frames": colors.reshape(frames.shape)}
