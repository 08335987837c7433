"""Made-up inputs of the documented commands, under the names that the pages use.

Each function writes one: tiny, in its genuine form, and no more than the commands need
to run to their end. `/path/to` of the pages is the folder `given` here.
"""

from __future__ import annotations

import pathlib
import shutil
import struct
import zipfile

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from mdm_jax.evaluation import trajectory_files
from mdm_jax.networks import pretrained, resnet
from mdm_jax.prepared import build
from mdm_jax.prepared.options import Options
from tests import tiny_sets

# Height and width for which the intrinsics on the pages are meant.
_KITTI = (376, 1241)
_NUM_FRAMES = 6


def _street(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Returns frames `[n h w 3]` that pan over a texture with a box, and its masks."""
    height, width = size
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (height // 8, width // 8 + 8, 3), np.uint8)
    texture = cv2.resize(noise, (width + 64, height), interpolation=cv2.INTER_CUBIC)
    frames, masks = [], []
    for index in range(_NUM_FRAMES):
        frame = texture[:, 4 * index : 4 * index + width].copy()
        mask = np.zeros(size, np.uint8)
        left = width // 4 + 2 * index
        box = (slice(height // 3, 2 * height // 3), slice(left, left + width // 4))
        frame[box] = texture[box[0], : width // 4][::-1]
        mask[box] = 1
        frames.append(frame)
        masks.append(mask)
    return np.stack(frames), np.stack(masks)


def _video(path: pathlib.Path):
    path.parent.mkdir(parents=True, exist_ok=True)
    film = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (192, 64))
    for frame in _street((64, 192))[0]:
        film.write(frame)
    film.release()


def _pictures(folder: pathlib.Path, pictures: np.ndarray):
    folder.mkdir(parents=True, exist_ok=True)
    for index, picture in enumerate(pictures):
        assert cv2.imwrite(str(folder / f"{index:06d}.png"), picture)


def _frames(folder: pathlib.Path):
    _pictures(folder, _street(_KITTI)[0])
    (folder / "cam.txt").write_text("718.9,718.9,607.2,185.2\n")


def _images(folder: pathlib.Path):
    _pictures(folder, _street(_KITTI)[0][:3])


def _true_depth(folder: pathlib.Path):
    rows = np.linspace(80, 5, _KITTI[0])[:, None]
    maps = np.broadcast_to(256 * rows, (3, *_KITTI))
    _pictures(folder, maps.astype(np.uint16))


def _masks(folder: pathlib.Path):
    """Masks of the frames, and of the snippet of Cityscapes, with ids drawn anew."""
    fresh = np.arange(1, _NUM_FRAMES + 1, dtype=np.uint8)[:, None, None]
    _pictures(folder / "frames", _street(_KITTI)[1] * fresh)
    for index in range(3):
        mask = np.zeros((tiny_sets.HEIGHT, tiny_sets.WIDTH), np.uint8)
        mask[4:13, 8 + index : 22 + index] = 3 - index
        name = f"bremen_000001_{17 + index:06d}_leftImg8bit.png"
        drive = folder / "bremen_000001_000017"
        tiny_sets.write(drive / name, tiny_sets.encoded(mask))


def _cityscapes(root: pathlib.Path):
    tiny_sets.cityscapes(root)
    paths = sorted((root / "leftImg8bit_sequence").rglob("*.png"))
    for index, path in enumerate(paths):  # which move a pixel between frames
        moved = np.roll(tiny_sets.image(), index, axis=1)
        path.write_bytes(tiny_sets.encoded(moved))


def _kitti(root: pathlib.Path):
    """A drive to train on and one of the Eigen test scenes."""
    drive = tiny_sets.kitti_raw(root) / "2011_09_26" / "2011_09_26_drive_0001_sync"
    shutil.copytree(drive, drive.with_name("2011_09_26_drive_0002_sync"))


def _eigen_frames(path: pathlib.Path):
    path.write_text("2011_09_26/2011_09_26_drive_0002_sync 0000000001 l\n")


def _kitti_odometry(root: pathlib.Path):
    """A sequence to train on and one that is held out."""
    tiny_sets.kitti_odometry(root)
    shutil.copytree(root / "sequences" / "07", root / "sequences" / "09")
    shutil.copy(root / "poses" / "07.txt", root / "poses" / "09.txt")


def _trajectory(path: pathlib.Path):
    poses = np.tile(np.eye(4), (_NUM_FRAMES, 1, 1))
    # The shortest stretch that is measured is 100 m long.
    poses[:, 2, 3] = 25.0 * np.arange(_NUM_FRAMES)
    trajectory_files.write_kitti(path, poses)


def _disparities(path: pathlib.Path):
    rng = np.random.default_rng(0)
    np.save(path, rng.uniform(0.02, 0.2, (3, 24, 80)).astype(np.float32))


def _depths(path: pathlib.Path):
    """Maps of different sizes, which are Python objects in the file, as published."""
    rng = np.random.default_rng(1)
    maps = np.empty(3, object)
    for index in range(3):
        maps[index] = rng.uniform(5, 70, (40 + index, 130)).astype(np.float32)
    np.savez(path, data=maps)


def _clips(folder: pathlib.Path):
    """A prepared data set in the size that the loader's benchmark reads."""
    frames = np.concatenate([_street((128, 416))[0] for _ in range(4)])
    source = folder.with_name("frames")
    _pictures(source, frames)
    options = Options(
        name="video",
        source=str(source),
        data_dir=str(folder.parent),
        size=(128, 416),
        intrinsics="fov:70",
    )
    build.build(options, runner=build.on_processes(1))


def _resnet18(path: pathlib.Path):
    """Random weights as PyTorch saves a state dict, written without PyTorch."""
    net = resnet.ResNetEncoder(18, norm="batch")
    shapes = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    rng = np.random.default_rng(0)

    def random(shape: tuple[int, ...]) -> np.ndarray:
        if len(shape) < 2:  # of norms: scales, variances and the like
            return np.ones(shape, np.float32)
        spread = np.sqrt(2 / np.prod(shape[:-1]))
        return rng.normal(0, spread, shape).astype(np.float32)

    variables = jax.tree.map(lambda leaf: random(leaf.shape), shapes)
    network = {kind: {"encoder": leaves} for kind, leaves in variables.items()}
    arrays = pretrained.export_network(network, decoder=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        # A pickle, opcode by opcode: its globals can only be named where they exist.
        pickled = b"\x80\x02}("
        for key, (name, array) in enumerate(arrays.items()):
            array = np.ascontiguousarray(array, np.float32)
            strides = [step // array.itemsize for step in array.strides]
            storage = _text("storage") + b"ctorch\nFloatStorage\n" + _text(str(key))
            storage = b"(" + storage + _text("cpu") + _whole(array.size) + b"tQ"
            tensor = storage + _whole(0) + _tuple(array.shape) + _tuple(strides)
            pickled += _text(name.removeprefix("encoder."))
            pickled += b"ctorch._utils\n_rebuild_tensor_v2\n(" + tensor + b"tR"
            archive.writestr(f"resnet18/data/{key}", array.tobytes())
        archive.writestr("resnet18/data.pkl", pickled + b"u.")


def _text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def _whole(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def _tuple(values) -> bytes:
    return b"(" + b"".join(map(_whole, values)) + b"t"


INPUTS = {
    "given/frames_or_video.mp4": _video,
    "drive.mp4": _video,
    "frames": _frames,
    "masks_per_frame": _masks,
    "images": _images,
    "depth": _true_depth,
    "poses.txt": _trajectory,
    "results": lambda folder: _trajectory(folder / "07.txt"),
    "poses": lambda folder: _trajectory(folder / "07.txt"),
    "disps.npy": _disparities,
    "gt_depths.npz": _depths,
    "given/kitti": _kitti,
    "eigen_test_files.txt": _eigen_frames,
    "given/kitti_odometry": _kitti_odometry,
    "given/cityscapes": _cityscapes,
    "given/clips/video": _clips,
    "given/resnet18.pth": _resnet18,
}
