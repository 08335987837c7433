"""Synthetic drives: textured streets with moving cars and exact ground truth.

This is the built-in data set. A drive is a recording with exact depth, intrinsics,
camera and object poses and instance labels, which determine egomotion, object motion
and optical flow (`recording.arrays`). The seed determines a drive: bitwise on one
machine, and frame i does not depend on the number of frames.

A camera 1.4 to 1.8 m above the road drives 0.8 to 1.3 m per frame (less in sharp bends)
past buildings, trees and parked cars, behind a leading car, with oncoming, crossing and
turning cars; sometimes it stands still or only rotates. Geometry: `streets`, `town`,
`driving`, `traffic`. Appearance: `scene_tables`, `raycast`, `textures`.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import math
import os
from collections.abc import Sequence

import numpy as np

from mdm_jax.files import image_file
from mdm_jax.geometry import view as view_lib
from mdm_jax.masks import labels as mask_labels
from mdm_jax.masks.mask_set import MaskSet
from mdm_jax.recording.arrays import Recording
from mdm_jax.synthetic import driving, primitives, raycast, scene_tables, town, traffic

SPLITS = ("train", "validation", "test")
_FRAMES_PER_CALL = 8
_MAX_LABEL = 255


def make_drives(
    *,
    split: str,
    num_drives: int,
    num_frames: int,
    size: tuple[int, int],
    seed: int = 0,
) -> list[Recording]:
    """Returns drives through different towns; no two splits share one.

    Args:
        split: "train", "validation" or "test".
        num_drives: at least 1; drive i does not depend on it.
        num_frames: per drive.
        size: (height, width) of the frames.
        seed: of all splits.

    Raises:
        ValueError: an argument is out of range.
    """
    if split not in SPLITS:
        raise ValueError(f"split expects one of {', '.join(SPLITS)}, got {split!r}")
    if num_drives < 1:
        raise ValueError(f"num_drives expects at least 1, got {num_drives}")

    def drive(index: int) -> Recording:
        return make_drive(
            (seed, SPLITS.index(split), index),
            num_frames=num_frames,
            size=size,
            name=f"synthetic_{split}_{index}",
        )

    first = drive(0)  # Compiles the renderer before several threads need it.
    # One town is generated while another is rendered.
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        return [first, *pool.map(drive, range(1, num_drives))]


def make_drive(
    seed: int | Sequence[int],
    *,
    num_frames: int,
    size: tuple[int, int] = (64, 208),
    name: str | None = None,
) -> Recording:
    """Returns one drive with its ground truth.

    Args:
        seed: non-negative integers.
        num_frames: at least 1. A very long drive passes more cars than there are 8-bit
            labels; several shorter drives are more varied anyway.
        size: (height, width), at least 8. Wide images suit a street.
        name: of the recording; derived from the seed by default.

    Raises:
        ValueError: an argument is out of range, or the drive passes too many cars.
    """
    seeds = (seed,) if isinstance(seed, int | np.integer) else tuple(seed)
    if not seeds or min(seeds) < 0:
        raise ValueError(f"seed expects non-negative integers, got {seed!r}")
    if num_frames < 1:
        raise ValueError(f"num_frames expects at least 1, got {num_frames}")
    if len(size) != 2 or min(size) < 8:
        raise ValueError(f"size expects (height, width) of at least 8, got {size!r}")
    rng = np.random.default_rng([*seeds, 0])
    half_view = math.radians(rng.uniform(60, 70)) / 2
    intrinsics = _intrinsics(half_view, size)
    drive = _palette(rng)
    length = driving.route_length(num_frames)
    world = town.make_world(seeds, length=length)
    camera = driving.drive_camera(seeds, world.route, num_frames=num_frames)
    cars = traffic.make_traffic(seeds, world, camera)
    poses = camera.world_from_camera[driving.LEAD_IN :][:num_frames]
    scenes = _scenes(world, cars, poses, half_view)
    image = _render(scenes, drive, intrinsics, size)
    labels, visible = _relabel(image.labels)
    return Recording(
        name=name or "synthetic_" + "_".join(str(part) for part in seeds),
        frames=image.frames,
        intrinsics=intrinsics,
        depth=image.depth,
        world_from_camera=poses,
        instance_labels=labels,
        world_from_object=_object_poses(world, cars, visible, num_frames),
    )


def with_masks(drives: Sequence[Recording], masks: MaskSet) -> list[Recording]:
    """Returns drives with labels from mask files instead of the true ones.

    The masks may have been made from larger frames of the same drives. Object poses
    belong to the true labels and are left out.

    Raises:
        DataError: masks are missing or cannot be used.
    """
    masks = dataclasses.replace(masks, alone=len(drives) == 1)
    return [_with_masks(drive, masks) for drive in drives]


def _with_masks(drive: Recording, masks: MaskSet) -> Recording:
    names = [f"{index:06d}" for index in range(len(drive))]
    path = masks.find(drive.name)
    size = drive.size
    if path.is_dir():
        size = image_file.size_of(path / f"{name}.png" for name in names)
    files = masks.open(drive.name, names, size=size)
    maps = mask_labels.label_maps(
        files, drive.name, view_lib.stretched(size, drive.size).labels
    )
    return dataclasses.replace(
        drive, instance_labels=np.stack(list(maps)), world_from_object=None
    )


def _intrinsics(half_view, size):
    height, width = size
    focal = width / 2 / math.tan(half_view)
    centre = ((width - 1) / 2, (height - 1) / 2)
    return np.array(
        [[focal, 0, centre[0]], [0, focal, centre[1]], [0, 0, 1]], np.float32
    )


def _palette(rng):
    """Returns the colours of ground and sky, and a seed for their grain."""

    def grey(low, high, warmth=0.03):
        value = rng.uniform(low, high)
        return np.clip(value + rng.uniform(-warmth, warmth, 3), 0, 1)

    grass = np.array([0.3, 0.42, 0.18]) * rng.uniform(0.7, 1.3, 3)
    earth = np.array([0.5, 0.42, 0.3]) * rng.uniform(0.7, 1.3, 3)
    palette = {
        "road": grey(0.28, 0.48),
        "walk": grey(0.45, 0.7, 0.05),
        "verge_a": grass,
        "verge_b": earth if rng.random() < 0.6 else grass * 0.6,
        "sky": np.array([0.35, 0.55, 0.85]) * rng.uniform(0.85, 1.1, 3),
        "seed": rng.integers(1, 1 << 16),
    }
    return {key: np.asarray(value, np.float32) for key, value in palette.items()}


def _scenes(world, cars, poses, half_view):
    """Returns the render tables of all frames, stacked."""
    parked = [
        primitives.place_car(car, *pose)
        for car, pose in zip(world.parked_cars, world.parked)
    ]
    standing = np.concatenate([world.boxes, *parked])
    scenes = []
    for frame, pose in enumerate(poses):
        moving = [
            primitives.place_car(moving.car, *moving.poses[frame - moving.start])
            for moving in cars
            if 0 <= frame - moving.start < len(moving.poses)
        ]
        scenes.append(
            scene_tables.cull(
                np.concatenate([standing, *moving]),
                world.rounds,
                world.route.segments,
                pose,
                half_view=half_view,
            )
        )
    return scene_tables.Scene(*(np.stack(field) for field in zip(*scenes)))


def _render(scenes, drive, intrinsics, size):
    """Renders scenes in calls of a fixed number of frames, several calls in parallel."""
    num_frames = len(scenes.place)
    starts = range(0, num_frames, _FRAMES_PER_CALL)

    def call(start):
        # The last call repeats its last frame, so that all calls have one shape.
        index = np.minimum(np.arange(start, start + _FRAMES_PER_CALL), num_frames - 1)
        chunk = scene_tables.Scene(*(field[index] for field in scenes))
        image = raycast.render(chunk, drive, intrinsics, size)
        kept = num_frames - start
        return raycast.Image(*(field[:kept] for field in image))

    first = call(0)  # Compiles before several threads need it.
    workers = min(os.cpu_count() or 1, 8)
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        images = [first, *pool.map(call, starts[1:])]
    return raycast.Image(*(np.concatenate(field) for field in zip(*images)))


def _relabel(labels):
    """Renumbers the visible cars in order of appearance, so that 8 bits suffice.

    Returns:
        uint8 labels, and the renderer's label of each of them.
    """
    cars, new_label = [], {0: 0}
    result = np.zeros(labels.shape, np.uint8)
    for frame, image in enumerate(labels):
        for label in np.unique(image):
            if int(label) not in new_label:
                cars.append(int(label))
                new_label[int(label)] = len(cars)
        if len(cars) > _MAX_LABEL:
            raise ValueError(
                f"the drive passes more than {_MAX_LABEL} cars by frame {frame} of "
                f"{len(labels)}: make several shorter drives instead"
            )
        table = np.zeros(labels.max() + 1, np.uint8)
        for old, new in new_label.items():
            table[old] = new
        result[frame] = table[image]
    return result, cars


def _object_poses(world, cars, visible, num_frames):
    """Returns world_from_object `[n k 4 4]`; a car's axes are right, down, forward."""
    places = np.full((num_frames, len(visible), 3), np.nan)
    for index, label in enumerate(visible):
        if label <= len(world.parked_cars):
            places[:, index] = world.parked[label - 1]
            continue
        moving = cars[label - 1 - len(world.parked_cars)]
        first = max(moving.start, 0)
        last = min(moving.start + len(moving.poses), num_frames)
        poses = moving.poses[first - moving.start : last - moving.start]
        places[first:last, index] = poses
    x, z, heading = np.moveaxis(places, -1, 0)
    cos, sin = np.cos(heading), np.sin(heading)
    zero = np.where(np.isnan(x), np.nan, 0.0)
    rows = [
        [cos, zero, sin, x],
        [zero, zero + 1, zero, zero],
        [-sin, zero, cos, z],
        [zero, zero, zero, zero + 1],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)
