"""A user's own images and movies become recordings."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

from mdm_jax import sources as sources_lib
from mdm_jax.files.errors import Problems
from mdm_jax.geometry import view as view_lib
from mdm_jax.masks.mask_set import MaskSet
from mdm_jax.recording import opening
from mdm_jax.recording.arrays import Recording
from mdm_jax.sources import own_video
from mdm_jax.sources.source import Source


def open_video(
    path: str | os.PathLike[str],
    *,
    size: Sequence[int],
    crop: Sequence[float] = (),
    fit: str = "crop",
    intrinsics: str = "",
    cache_dir: str | os.PathLike[str] | None = None,
    masks: MaskSet | None = None,
    problems: Problems | None = None,
) -> list[Recording]:
    """Returns the recordings of a user's own images and movies.

    Args:
        path: as for `own_video.open_sources`.
        size: (height, width) of the frames of the recordings, at least 32 each.
        crop: fractions (top, bottom, left, right) to cut away first, such as a car's
            bonnet.
        fit: `crop` crops the rest about its centre to the aspect ratio of `size`;
            `stretch` keeps all of it.
        intrinsics: of the original frames, as `intrinsics_file` explains.
        cache_dir: folder of decoded frames; None or empty for one in the user's cache.
        masks: where the masks of all frames are; None for recordings without labels.
        problems: what to do about broken images; None stops at the first.

    Raises:
        FileNotFoundError: no such path, or no intrinsics.
        OSError: the cache cannot be written.
        ValueError: as for `own_video.open_sources`; fewer than two frames; a crop or
            size that leaves too little; masks that are missing or cannot be used.
    """
    if len(size) != 2 or min(size) < own_video.MIN_SIDE:
        raise ValueError(
            "dataset.size is (height, width), at least"
            f" {own_video.MIN_SIDE} pixels each, got {tuple(size)}"
        )
    if not str(path):
        raise ValueError(
            "dataset.path is empty; give a folder of images, a video file, or a folder"
            " of either (--config.dataset.path=...)"
        )
    height, width = size
    sources = sources_lib.open_sources("video", path, intrinsics=intrinsics)
    for source in sources:
        _check_length(source, len(source))
        view = view_lib.FITS[fit](source.size, (height, width), crop or source.crop)
        if min(view.box) < own_video.MIN_SIDE:
            raise ValueError(
                f"dataset.crop {tuple(crop)} and the aspect ratio of dataset.size"
                f" {height}x{width} leave {view.box[0]}x{view.box[1]} of"
                f" {source.size[0]}x{source.size[1]} pixels (height x width); each side"
                f" needs at least {own_video.MIN_SIDE}"
            )
    if masks is not None:
        masks = dataclasses.replace(masks, alone=len(sources) == 1)
        for source in sources:
            opening.check_masks(source, masks)
    recordings = opening.open_recordings(
        sources,
        size=(height, width),
        crop=crop or None,
        fit=fit,
        masks=masks,
        cache_dir=cache_dir,
        problems=problems,
    )
    if len(recordings) == len(sources):
        for source, recording in zip(sources, recordings):
            _check_length(source, len(recording))
    return recordings


def _check_length(source: Source, num_frames: int):
    if num_frames < 2:
        raise ValueError(
            f"{source.files[0]}: at least two frames are needed, could read"
            f" {num_frames}; give a video or the folder of the consecutive images"
        )
