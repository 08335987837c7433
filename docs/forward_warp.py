"""Draws docs/forward_warp.png: a moving car, the camera's motion undone in two ways.

    python docs/forward_warp.py

Of two synthetic drives. What a car would look like had it stood still while the camera
moved is known: the same drive is rendered once more with its traffic frozen.
"""

from __future__ import annotations

import dataclasses
import pathlib
from unittest import mock

import jax
import jax.numpy as jnp
import matplotlib.figure
import numpy as np

from mdm_jax.geometry import motion, pose, warp
from mdm_jax.recording import true_motion
from mdm_jax.synthetic import rendered_drives, traffic

OUTPUT = pathlib.Path(__file__).with_suffix(".png")
SIZE, NUM_FRAMES, SOURCE = (128, 416), 8, 5
# Seed of the drive, and the frame whose camera looks at the car of frame `SOURCE`.
ROWS = ((2, 2), (5, 2))
FORWARD, INVERSE = "#1b9e4b", "#d1352b"


def frozen_drive(seed: int):
    """Returns the drive with all cars where they are in frame `SOURCE`."""
    moving = traffic.make_traffic

    def freeze(track):
        index = SOURCE - track.start
        if not 0 <= index < len(track.poses):
            return dataclasses.replace(track, start=10**6)  # After the drive's end.
        still = np.stack([track.poses[index]] * NUM_FRAMES)
        return dataclasses.replace(track, start=0, poses=still)

    def frozen(*arguments):
        return [freeze(track) for track in moving(*arguments)]

    with mock.patch.object(traffic, "make_traffic", frozen):
        return rendered_drives.make_drive(seed, num_frames=NUM_FRAMES, size=SIZE)


def warp_both_ways(drive, target: int, content: np.ndarray):
    """Returns the content `[h w c]` of `SOURCE` as `target` sees it: forward, inverse."""

    def camera_motion(a, b):
        matrix = true_motion.camera_motion(drive, a, b)
        return pose.from_matrix(jnp.asarray(matrix, jnp.float32))

    forward = jax.jit(warp.forward_warp)(
        content,
        drive.depth[SOURCE],
        camera_motion(SOURCE, target),
        jnp.asarray(drive.intrinsics),
    )
    # The target's own depth: all that an inverse warp can know.
    inverse = jax.jit(warp.inverse_warp)(
        content,
        drive.depth[target],
        motion.ego_only(camera_motion(target, SOURCE), SIZE),
        jnp.asarray(drive.intrinsics),
    )
    return np.asarray(forward.image), np.asarray(inverse.image)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Returns the intersection of two masks over their union."""
    return float(np.sum(a & b) / np.sum(a | b))


def window(*masks: np.ndarray) -> tuple[slice, slice]:
    """Returns rows and columns around all masks, in one shape for all panels."""
    rows, columns = np.nonzero(np.logical_or.reduce(masks))
    height = max(np.ptp(rows) + 14, (np.ptp(columns) + 20) / 1.6)
    width = 1.6 * height

    def centred(middle, length, limit):
        first = int(np.clip(middle - length / 2, 0, max(limit - length, 0)))
        return slice(first, min(first + round(length), limit))

    return (
        centred((rows.min() + rows.max()) / 2, height, SIZE[0]),
        centred((columns.min() + columns.max()) / 2, width, SIZE[1]),
    )


def draw_row(axes, seed: int, target: int) -> None:
    """Draws one drive: source, truth, forward and inverse."""
    drive = rendered_drives.make_drive(seed, num_frames=NUM_FRAMES, size=SIZE)
    frozen = frozen_drive(seed)
    moving, still = drive.instance_labels, frozen.instance_labels
    assert moving is not None and still is not None  # Synthetic drives have them.
    labels, sizes = np.unique(moving[SOURCE], return_counts=True)
    mask = moving[SOURCE] == labels[1:][np.argmax(sizes[1:])]
    (label,) = np.unique(still[SOURCE][mask])
    truth = still[target] == label
    image = drive.frames[SOURCE] / np.float32(255)
    content = np.concatenate([image, mask[..., None].astype(np.float32)], axis=-1)
    warps = [
        (w[..., :3], w[..., 3] > 0.5) for w in warp_both_ways(drive, target, content)
    ]
    step = true_motion.rigid_motion(drive, SOURCE, target).residual_translation
    metres = np.median(np.linalg.norm(step[mask], axis=-1))

    around = window(truth, *(m for _, m in warps))
    panels = [
        (window(mask), image, mask, "black", f"frame {SOURCE}"),
        (
            around,
            frozen.frames[target] / 255,
            truth,
            "black",
            "truth: the car stood still",
        ),
        (around, *warps[0], FORWARD, f"forward: IoU {overlap(warps[0][1], truth):.3f}"),
        (around, *warps[1], INVERSE, f"inverse: IoU {overlap(warps[1][1], truth):.3f}"),
    ]
    for index, (axis, panel) in enumerate(zip(axes, panels, strict=True)):
        (rows, columns), picture, outline, color, title = panel
        extent = (
            -0.5,
            columns.stop - columns.start - 0.5,
            rows.stop - rows.start - 0.5,
            -0.5,
        )
        axis.imshow(picture[rows, columns], extent=extent, interpolation="nearest")
        if index > 1:
            axis.contour(truth[rows, columns], [0.5], colors="white", linewidths=1.2)
        axis.contour(
            outline[rows, columns],
            [0.5],
            colors=color if index > 1 else "white",
            linewidths=2.0,
        )
        axis.set_title(title, fontsize=12, color=color, fontweight="bold")
        axis.set_xticks([])
        axis.set_yticks([])
        axis.set_anchor("N")
    axes[0].set_xlabel(f"the car moves {metres:.1f} m", fontsize=11)
    axes[1].set_xlabel(f"camera of frame {target}", fontsize=11)
    axes[2].set_xlabel("by the source's depth (black: unseen)", fontsize=11)
    axes[3].set_xlabel("by the target's depth", fontsize=11)


def main() -> None:
    """Draws the figure and writes it."""
    figure = matplotlib.figure.Figure(
        figsize=(12, 2.45 * len(ROWS)), layout="constrained"
    )
    grid = figure.subplots(len(ROWS), 4, squeeze=False)
    for axes, (seed, target) in zip(grid, ROWS, strict=True):
        draw_row(axes, seed, target)
    figure.savefig(OUTPUT, dpi=90)


if __name__ == "__main__":
    main()
