"""Draws docs/demo.webp: a test drive of the demo as predicted by a trained run.

    python docs/demo_animation.py --workdir=runs/demo

Four pictures side by side: the frame, depth, object motion, and the trajectory, whose
scale is fitted to the true one. The drive is one of the streets that the demo is tested
on, rendered three times as large; its frames go through the prediction like any video.
"""

from __future__ import annotations

import pathlib
import sys
import tempfile

import cv2
import numpy as np
from absl import app, flags
from PIL import Image

import mdm_jax
from mdm_jax.evaluation import alignment
from mdm_jax.synthetic import rendered_drives
from mdm_jax.visualize import colormaps

_WORKDIR = flags.DEFINE_string("workdir", "runs/demo", "Folder of the trained run.")
_OUTPUT = flags.DEFINE_string("output", "docs/demo.webp", "WebP or GIF to write.")
_DRIVE = flags.DEFINE_integer("drive", 0, "Index of the test drive.")
_FRAMES = flags.DEFINE_integer("frames", 60, "Number of frames.")
_ENLARGE = flags.DEFINE_integer("enlarge", 3, "Size of the frames, of that trained on.")

_MAX_BYTES = 3_000_000
_MILLISECONDS = 100  # per frame
_HEADER, _GAP = 24, 6
_INK = (32, 32, 32)
_TRUE, _PREDICTED = (160, 160, 160), (209, 73, 91)


def make_drive(config):
    """Returns a test drive of the demo, with larger frames."""
    size = tuple(_ENLARGE.value * side for side in config.dataset.size)
    split = rendered_drives.SPLITS.index("test")
    seed = (config.dataset.synthetic_seed, split, _DRIVE.value)
    return rendered_drives.make_drive(seed, num_frames=_FRAMES.value, size=size)


def predict(run, drive, folder: pathlib.Path):
    """Returns depth `[n h w]`, object motion `[n h w 3]` and poses `[n 4 4]`."""
    frames, masks, output = (folder / name for name in ("frames", "masks", "output"))
    for path in (frames, masks):
        path.mkdir()
    for index, image in enumerate(drive.frames):
        cv2.imwrite(str(frames / f"{index:06d}.png"), image[..., ::-1])
        labels = drive.instance_labels[index]
        cv2.imwrite(str(masks / f"{index:06d}.png"), labels)
    K = drive.intrinsics
    request = {"intrinsics": ",".join(map(str, (K[0, 0], K[1, 1], K[0, 2], K[1, 2])))}
    if run.method.needs_labels:
        request["masks"] = str(masks)
    run.predict(frames, output=output, **request)
    names = [f"{index:06d}.npz" for index in range(len(drive))]
    depth = [np.load(output / "depth" / name)["depth"] for name in names]
    # The last frame has no next one, and so no motion.
    motion = [
        np.load(output / "object_motion" / name)["object_motion"] for name in names[:-1]
    ]
    poses = np.loadtxt(output / "trajectory_kitti.txt").reshape(-1, 3, 4)
    return np.stack(depth), np.stack([*motion, motion[-1]]), poses


def draw_trajectory(
    true: np.ndarray, predicted: np.ndarray, count: int, size: tuple[int, int]
) -> np.ndarray:
    """Returns the trajectories `[n 3]` from above, the predicted one up to a frame."""
    height, width = size
    # Drives mostly go ahead: z is drawn to the right, x downwards.
    ground = np.concatenate([true, predicted])[:, [2, 0]]
    low, high = ground.min(axis=0), ground.max(axis=0)
    scale = 0.8 * np.min(np.array([width, height]) / np.maximum(high - low, 1e-6))

    def pixels(positions):
        offset = scale * (positions[:, [2, 0]] - (low + high) / 2)
        return np.rint(offset + (width / 2, height / 2)).astype(np.int32)

    picture = np.full((height, width, 3), 255, np.uint8)
    cv2.polylines(picture, [pixels(true)], False, _TRUE, 4, cv2.LINE_AA)
    path = pixels(predicted[: count + 1])
    cv2.polylines(picture, [path], False, _PREDICTED, 2, cv2.LINE_AA)
    cv2.circle(picture, path[-1].tolist(), 5, _PREDICTED, -1, cv2.LINE_AA)
    for row, (text, colour) in enumerate((("true", _TRUE), ("predicted", _PREDICTED))):
        place = (10, height - 12 - 18 * row)
        font = cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(picture, text, place, font, 0.45, colour, 1, cv2.LINE_AA)
    return picture


def compose(pictures: dict[str, np.ndarray]) -> np.ndarray:
    """Returns four titled pictures of one size in two rows."""
    tiles = []
    for title, picture in pictures.items():
        tile = np.full((picture.shape[0] + _HEADER, picture.shape[1], 3), 255, np.uint8)
        tile[_HEADER:] = picture
        font = cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(tile, title, (2, _HEADER - 8), font, 0.5, _INK, 1, cv2.LINE_AA)
        tiles.append(tile)
    border = ((0, _GAP), (0, _GAP), (0, 0))
    tiles = [np.pad(tile, border, constant_values=255) for tile in tiles]
    rows = [np.concatenate(tiles[i : i + 2], axis=1) for i in (0, 2)]
    return np.concatenate(rows, axis=0)


def draw(drive, depth, motion, poses) -> list[np.ndarray]:
    """Returns the frames of the animation, uint8 RGB."""
    true = np.asarray(drive.world_from_camera, np.float64)
    true = (np.linalg.inv(true[0]) @ true)[:, :3, 3]
    predicted = poses[:, :, 3]
    scale = alignment.least_squares_scale(predicted, true)
    limit = colormaps.inverse_depth_limit(depth[0].astype(np.float32))
    motion_limit = colormaps.absolute_limit(motion)
    frames = []
    for index, image in enumerate(drive.frames):
        size = image.shape[:2]
        pictures = {
            "frame": image,
            "depth": colormaps.inverse_depth(depth[index], limit=limit),
            "object motion": colormaps.motion(motion[index], limit=motion_limit),
            "trajectory": draw_trajectory(true, scale * predicted, index, size),
        }
        frames.append(compose(pictures))
    return frames


def save(frames: list[np.ndarray], path: pathlib.Path) -> None:
    """Writes an animation of at most `_MAX_BYTES`.

    Raises:
        ValueError: it is larger even at the lowest quality.
    """
    images = [Image.fromarray(frame) for frame in frames]
    path.parent.mkdir(parents=True, exist_ok=True)
    for quality in (85, 70, 55, 40):
        images[0].save(
            path,
            save_all=True,
            append_images=images[1:],
            duration=_MILLISECONDS,
            loop=0,
            quality=quality,
            method=6,
        )
        if path.stat().st_size <= _MAX_BYTES:
            return
    raise ValueError(
        f"{path} has {path.stat().st_size / 1e6:.1f} MB, more than"
        f" {_MAX_BYTES / 1e6:.1f} MB: give fewer --frames or a smaller --enlarge"
    )


def main(argv: list[str]):
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: options start with --")
    try:
        run = mdm_jax.load(_WORKDIR.value)
        drive = make_drive(run.config)
        with tempfile.TemporaryDirectory() as folder:
            maps = predict(run, drive, pathlib.Path(folder))
        save(draw(drive, *maps), pathlib.Path(_OUTPUT.value))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    print(_OUTPUT.value)


if __name__ == "__main__":
    app.run(main)
