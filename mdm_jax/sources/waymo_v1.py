"""Waymo Open Dataset (perception, v1): one TFRecord of `Frame` messages per segment.

    ROOT/training/segment-..._with_camera_labels.tfrecord, or the files directly in ROOT

Read are the front camera without lens distortion, depth from all lasers, and instances
if there are panoptic labels. Field numbers are those of the published message
definitions. Camera poses follow from the vehicle's pose at the time of the image.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import pathlib
import zlib
from collections.abc import Iterator

import numpy as np

from mdm_jax.files import file_content, fingerprint, image_file
from mdm_jax.files.errors import DataError, Problems
from mdm_jax.sources import protobuf_wire as wire
from mdm_jax.sources import source as source_lib
from mdm_jax.sources import tfrecord, waymo_sensors
from mdm_jax.sources.source import Source

# More bytes than any unpacked range image has.
_MAX_UNPACKED = 1 << 28


class Frame:
    """One `Frame` message, whose parts are read on demand."""

    def __init__(self, message: memoryview, path: pathlib.Path):
        """Stores a message and its file, which errors name."""
        self._message = message
        self._path = path

    def name(self) -> str:
        """Returns the name of the segment."""
        context = wire.message(self._message, 1)
        return bytes(wire.message(context, 1)).decode("utf-8", "replace")

    def seconds(self) -> float:
        """Returns the time of the frame."""
        return wire.integer(self._message, 2) * 1e-6

    def world_from_vehicle(self) -> np.ndarray:
        """Returns `[4 4]`, the pose of the vehicle for the laser points."""
        return self._transform(wire.message(self._message, 3))

    def world_from_vehicle_at_image(self, camera: int) -> np.ndarray:
        """Returns `[4 4]`, the pose of the vehicle at the time of a camera's image."""
        pose = wire.message(self._image(camera), 3)
        return self._transform(pose) if len(pose) else self.world_from_vehicle()

    def jpeg(self, camera: int) -> bytes:
        """Returns the encoded image of a camera."""
        return bytes(wire.message(self._image(camera), 2))

    def panoptic(self, camera: int) -> tuple[bytes, int]:
        """Returns the PNG of panoptic labels, or no bytes, and their divisor."""
        labels = wire.message(self._image(camera), 10)
        return bytes(wire.message(labels, 2)), wire.integer(labels, 1)

    def has_panoptic(self, camera: int) -> bool:
        """Returns whether there are panoptic labels, without copying them."""
        labels = wire.message(self._image(camera), 10)
        return len(wire.message(labels, 2)) > 0

    def camera(self, camera: int) -> waymo_sensors.Camera:
        """Returns the calibration of a camera."""
        found = self._named(wire.message(self._message, 1), 2, camera, "calibration")
        return waymo_sensors.camera(
            wire.doubles(found, 2),
            wire.doubles(wire.message(found, 3), 1),
            wire.integer(found, 4),
            wire.integer(found, 5),
            path=self._path,
        )

    def points(self) -> np.ndarray | None:
        """Returns the points of all lasers in the front camera; None without lasers."""
        front = waymo_sensors.FRONT
        return waymo_sensors.points_image(
            self._scans(),
            self.camera(front),
            world_from_vehicle=self.world_from_vehicle(),
            world_from_vehicle_at_image=self.world_from_vehicle_at_image(front),
            path=self._path,
        )

    def _scans(self) -> Iterator[waymo_sensors.Scan]:
        for laser in wire.messages(self._message, 5):
            echoes = [wire.message(laser, number) for number in (2, 3)]
            echoes = [echo for echo in echoes if len(wire.message(echo, 2))]
            if not echoes:
                continue
            poses = wire.message(echoes[0], 4)
            yield waymo_sensors.Scan(
                self._laser(wire.integer(laser, 1)),
                [
                    waymo_sensors.Returns(
                        self._matrix(wire.message(echo, 2), channels=4)[..., 0],
                        self._matrix(wire.message(echo, 3), channels=6, integers=True),
                    )
                    for echo in echoes
                ],
                self._matrix(poses, channels=6) if len(poses) else None,
            )

    def _image(self, camera: int) -> memoryview:
        return self._named(self._message, 4, camera, "image")

    def _named(
        self, parent: memoryview, number: int, name: int, what: str
    ) -> memoryview:
        for found in wire.messages(parent, number):
            if wire.integer(found, 1) == name:
                return found
        raise DataError(self._path, f"a frame has no {what} of camera or laser {name}")

    def _laser(self, name: int) -> waymo_sensors.Laser:
        found = self._named(wire.message(self._message, 1), 3, name, "calibration")
        limits = [wire.doubles(found, number) for number in (3, 4)]
        lowest, highest = (float(value[-1]) if len(value) else 0.0 for value in limits)
        return waymo_sensors.Laser(
            self._transform(wire.message(found, 5)),
            wire.doubles(found, 2),
            lowest,
            highest,
        )

    def _transform(self, message: memoryview) -> np.ndarray:
        return waymo_sensors.transform(wire.doubles(message, 1), path=self._path)

    def _matrix(
        self, packed: memoryview, *, channels: int, integers: bool = False
    ) -> np.ndarray:
        """Returns `[h w channels]` of a compressed matrix message."""
        try:
            unpacker = zlib.decompressobj()
            content = unpacker.decompress(packed, _MAX_UNPACKED)
        except zlib.error as error:
            raise DataError(
                self._path, f"a range image cannot be decompressed ({error})"
            ) from error
        message = memoryview(content)
        values = wire.integers(message, 1) if integers else wire.floats(message, 1)
        shape = tuple(wire.integers(wire.message(message, 2), 1).tolist())
        if (
            len(shape) != 3
            or min(shape) < 1
            or shape[2] != channels
            or values.size != shape[0] * shape[1] * shape[2]
        ):
            raise DataError(
                self._path,
                f"expected a range image of {channels} channels, got {values.size}"
                f" numbers of shape {list(shape)}",
            )
        return values.reshape(shape)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class WaymoDrive(Source):
    """The front images of a segment.

    Attributes:
        records: location of each frame in its file.
        calibration: of the front camera.
    """

    records: tuple[tfrecord.Record, ...]
    calibration: waymo_sensors.Camera

    def image(self, index: int) -> np.ndarray:
        path = self.files[index]
        with reading(path):
            jpeg = self._frame(index).jpeg(waymo_sensors.FRONT)
        source = f"{path} (frame {index})"
        image = image_file.decode(jpeg, source, size=self.size)
        return self.calibration.undistorted(image)

    def points(self, index: int) -> np.ndarray | None:
        with reading(self.files[index]):
            return self._frame(index).points()

    def labels(self, index: int) -> np.ndarray | None:
        path = self.files[index]
        with reading(path):
            png, divisor = self._frame(index).panoptic(waymo_sensors.FRONT)
        if not png:
            return None
        source = f"{path} (labels of frame {index})"
        panoptic = image_file.decode_labels(png, source, size=self.size)
        if panoptic.ndim != 2 or divisor < 1:
            raise DataError(source, "expected grey panoptic labels and their divisor")
        return self.calibration.undistorted_labels(
            waymo_sensors.instances(panoptic, divisor)
        )

    def labelled(self) -> list[bool]:
        with reading(self.files[0]):
            return [
                frame.has_panoptic(waymo_sensors.FRONT) for frame in self._glances()
            ]

    def world_from_camera(self) -> np.ndarray:
        poses = []
        for frame in self._glances():
            with reading(self.files[0]):
                pose = frame.world_from_vehicle_at_image(waymo_sensors.FRONT)
            poses.append(pose @ self.calibration.vehicle_from_camera)
        return np.stack(poses)

    def timestamps(self) -> np.ndarray:
        with reading(self.files[0]):
            seconds = [frame.seconds() for frame in self._glances()]
        return source_lib.checked_timestamps(np.array(seconds), self.files[0])

    def _glances(self) -> Iterator[Frame]:
        """Yields the frames without verifying checksums, to read small parts."""
        for path, record in zip(self.files, self.records, strict=True):
            yield Frame(tfrecord.glance(path, record), path)

    def _frame(self, index: int) -> Frame:
        return _frame(self.files[index], self.records[index])


def open_sources(
    root: pathlib.Path, *, problems: Problems, split: str = ""
) -> list[Source]:
    """Returns the segments in a folder, by name.

    Args:
        root: contains the TFRecord files, or a folder of them for each split.
        problems: how to handle broken files; when skipping, the frames before the
            damage are used.
        split: `training`, `validation` or `testing`; empty for the files in `root` and
            its folders.

    Raises:
        DataError: a file is not a TFRecord of frames, or is damaged.
    """
    folder = root / split if split else root
    found: list[Source] = []
    for path in file_content.children(folder):
        inner = file_content.children(path) if file_content.is_folder(path) else [path]
        for candidate in inner:
            if candidate.suffix == ".tfrecord":
                with problems.caught():
                    found.append(_open_segment(candidate, problems))
    return found


@contextlib.contextmanager
def reading(path: pathlib.Path) -> Iterator[None]:
    """Turns broken messages in its body into `DataError`s that name the file."""
    try:
        yield
    except wire.WireError as error:
        raise DataError(
            path, f"expected Waymo frames, got another message ({error})"
        ) from error


@functools.lru_cache(maxsize=2)
def _cached_frame(
    path: pathlib.Path, record: tfrecord.Record, identity: fingerprint.FileIdentity
) -> Frame:
    del identity
    return Frame(memoryview(tfrecord.read(path, record)), path)


def _frame(path: pathlib.Path, record: tfrecord.Record) -> Frame:
    """Returns a frame, cached because image, points and labels share it."""
    return _cached_frame(path, record, fingerprint.file_identity(path))


def _open_segment(path: pathlib.Path, problems: Problems) -> Source:
    records, error = tfrecord.index(path)
    if error is not None and not records:
        raise error
    if error is not None:
        problems.report(error)
    with reading(path):
        frame = _frame(path, records[0])
        camera = frame.camera(waymo_sensors.FRONT)
        name = frame.name()
    return WaymoDrive(
        name=name or path.stem,
        files=(path,) * len(records),
        size=camera.size,
        intrinsics=camera.intrinsics,
        records=records,
        calibration=camera,
    )
