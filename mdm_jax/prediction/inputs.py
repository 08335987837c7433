"""The inputs of a prediction: its sources, and how the network sees their frames."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from absl import logging

from mdm_jax import sources as sources_lib
from mdm_jax.geometry import view as view_lib
from mdm_jax.geometry.view import View
from mdm_jax.methods.inference import Model
from mdm_jax.prediction import frame_store
from mdm_jax.prediction.request import Request
from mdm_jax.sources import own_video
from mdm_jax.sources.source import Source


class Frame(NamedTuple):
    """A frame as it was recorded, uint8 `[H W 3]`, and as the network sees it."""

    original: np.ndarray
    seen: np.ndarray


class Labelled(NamedTuple):
    """The objects of a frame.

    Attributes:
        labels: uint8 `[h w]`, 0 for background.
        ids: int64 `[256]`, the number of each label's object in the mask file.
    """

    labels: np.ndarray
    ids: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Input:
    """A source as the network sees it.

    Attributes:
        source: of the frames.
        view: crop and resize applied to every frame.
        intrinsics: `[3 3]` in pixels of the view; None where the model predicts them,
            and for a single image of an unknown camera.
        labels: returns the objects of a frame by its index; None without masks.
        frame_stride: number of frames between the two of a pair.
        video_index: index of the source among the videos trained on, -1 if it is none.
    """

    source: Source
    view: View
    intrinsics: np.ndarray | None = None
    labels: Callable[[int], Labelled] | None = None
    frame_stride: int = 1
    video_index: int = -1


def decode(source: Source, view: View) -> Iterator[Frame]:
    """Yields the frames in order.

    Raises:
        DataError: an image cannot be read, or has another size.
    """
    return source.images(apply=lambda image: Frame(image, view.image(image)))


def open_sources(path: str) -> list[Source]:
    """Returns the sources at a path, without intrinsics.

    Args:
        path: an image, a video, a folder of images, of videos, or of such folders.

    Raises:
        FileNotFoundError: no such path.
        ValueError: there is nothing to read, a file is no image or video, or two
            recordings have the same name.
    """
    sources = sources_lib.open_sources("video", path, intrinsics="learned")
    file_of: dict[str, pathlib.Path] = {}
    for source in sources:
        file = source.files[0]
        other = file_of.setdefault(source.name, file)
        if other != file:
            raise ValueError(
                f"{other} and {file} would be written to the same folder,"
                f" {source.name}: rename one of them"
            )
    return sources


def frame_names(source: Source) -> list[str]:
    """Returns the names of the output files of each frame, without suffix."""
    try:
        return source.frame_names()
    except ValueError:  # two images have the same stem
        return [f"{index:06d}" for index in range(len(source))]


def view_of(source: Source, model: Model, fit: str) -> View:
    """Returns the crop and resize that shows frames to the network.

    Args:
        source: of the frames.
        model: that sees them.
        fit: `crop` or `stretch`; empty for what was done in training. `stretch` other
            than in training shows the whole image.
    """
    dataset = model.config.dataset
    trained = trained_fit(model)
    if fit == "stretch" and trained == "crop":
        return view_lib.stretched(source.size, dataset.size)
    return view_lib.FITS[fit or trained](source.size, dataset.size, dataset.crop)


def trained_fit(model: Model) -> str:
    """Returns how training brought frames to their size, `crop` or `stretch`."""
    dataset = model.config.dataset
    return sources_lib.fit_of(dataset.name, dataset.fit)


def given_intrinsics(
    source: Source, model: Model, request: Request
) -> np.ndarray | None:
    """Returns float64 `[3 3]` in original pixels; None where the model predicts them.

    None also for a single image of an unknown camera, whose depth needs none.

    Raises:
        FileNotFoundError: the intrinsics are needed and not given.
        ValueError: they cannot be used, or should be learned but the model cannot.
    """
    if model.method.learns_intrinsics:
        if request.intrinsics not in ("", "learned"):
            logging.warning(
                "--intrinsics=%s has no effect: this run predicts intrinsics",
                request.intrinsics,
            )
        if request.fit not in ("", trained := trained_fit(model)):
            logging.warning(
                "--fit=%s: the run learned the intrinsics of frames fitted by %s;"
                " motion and point clouds may be wrong",
                request.fit,
                trained,
            )
        return None
    if request.intrinsics == "learned":
        raise ValueError(
            "--intrinsics=learned: the run was trained with given intrinsics and cannot"
            " predict them; give the intrinsics"
        )
    specification = request.intrinsics or model.config.dataset.intrinsics
    required = len(source) > 1
    return own_video.with_intrinsics(
        source, specification, required=required
    ).intrinsics


def training_index(model: Model, source: Source) -> int:
    """Returns the index of a source among the videos trained on; -1 if it is none."""
    dataset = model.config.dataset
    if dataset.name != "video" or not dataset.path:
        return -1
    try:
        trained = sources_lib.open_sources("video", dataset.path, intrinsics="learned")
    except (ValueError, OSError):
        return -1  # the training data may be gone
    files = [video.files[0].resolve() for video in trained]
    first = source.files[0].resolve()
    return files.index(first) if first in files else -1


def check_apart(output: pathlib.Path, inputs: Sequence[pathlib.Path | str]):
    """Checks that no output file would replace an input.

    Raises:
        ValueError: one would.
    """
    names = (frame_store.FOLDER, *frame_store.DERIVED)
    folders = [(output / name).resolve() for name in names]
    for path in inputs:
        place = pathlib.Path(path).expanduser().resolve()
        if path and any(place.is_relative_to(folder) for folder in folders):
            raise ValueError(
                f"--output={output} would replace the input {path}: choose another"
                " folder"
            )
