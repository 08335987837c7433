"""The frames of a KITTI test list, with the depth that published scripts evaluate on."""

from __future__ import annotations

import os

import numpy as np

from mdm_jax import sources
from mdm_jax.evaluation.map_files import Maps
from mdm_jax.input_pipeline import list_file, splits
from mdm_jax.sources.kitti_raw import KittiDrive


def open_frames(
    root: str | os.PathLike[str], list_path: str | os.PathLike[str]
) -> tuple[Maps, Maps]:
    """Returns true depth and images of the listed frames, in order of the list.

    Depth is the LiDAR scan projected by KITTI's development kit, as the distance from
    the laser in metres (`KittiDrive.devkit_depth`). It is 0 everywhere for a frame
    without a scan.

    Args:
        root: folder of the raw data, with a folder per date.
        list_path: lines such as `2011_09_26/2011_09_26_drive_0002_sync 0000000069 l`.

    Raises:
        ValueError: listed frames or the scans of a drive are missing.
        DataError: the list or the raw data are damaged.
    """
    entries = list_file.read_list(os.fspath(list_path))
    drives = sources.open_sources("kitti_raw", root)
    located = splits.locate(entries, drives)
    if located.missing:
        first = located.missing[0]
        raise ValueError(
            f"{root}: {len(located.missing)} of {len(entries)} frames of {list_path} are"
            f" missing, the first is frame {first.frame} of {first.sequence}"
        )
    places = [(drives[p.drive], p.frame) for p in located.places if p is not None]
    names = [f"{drive.name}/{drive.numbers[i]:010d}" for drive, i in places]

    def depth(index: int) -> np.ndarray:
        drive, frame = places[index]
        assert isinstance(drive, KittiDrive)
        values = drive.devkit_depth(frame, from_laser=True)
        if values is None:
            raise ValueError(f"{drive.folder}: has no folder velodyne_points")
        return values

    def image(index: int) -> np.ndarray:
        drive, frame = places[index]
        return drive.image(frame)

    files = [str(drive.files[i]) for drive, i in places]
    return (
        Maps(names, files, depth, named=False),
        Maps(names, files, image, named=False),
    )
