"""What a trained run predicts for the drives and images that it is evaluated on.

Drives are the held-out drives of the run's data set or, if there are none, those it was
trained on.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

import ml_collections
import numpy as np
import tqdm
from absl import logging

from mdm_jax import sources
from mdm_jax.evaluation import (
    baselines,
    drives,
    image_predictions,
    trajectory_files,
)
from mdm_jax.evaluation import pairs as pairs_lib
from mdm_jax.evaluation.map_files import Maps
from mdm_jax.evaluation.protocols import DepthProtocol
from mdm_jax.evaluation.report import caveats, page, sections, tables
from mdm_jax.prediction import trajectory
from mdm_jax.recording import own_recordings
from mdm_jax.recording.arrays import Recording
from mdm_jax.run import loading
from mdm_jax.run.run import Run
from mdm_jax.training import data


def open_run(
    workdir: str,
    *,
    config: ml_collections.ConfigDict | None = None,
    step: int | None = None,
    split: str | None = None,
    max_frames: int | None = None,
) -> Run:
    """Returns a run with changed settings of its evaluation.

    Args:
        workdir: see `loading.load`.
        config: likewise, for data and evaluation.
        step: likewise.
        split: `test` or `validation`; None for `config.evaluation.split`.
        max_frames: None for `config.evaluation.max_frames`.

    Raises:
        ValueError: see `loading.load`.
    """
    run = loading.load(workdir, step, config=config)
    if split is not None:
        run.config.evaluation.split = split
    if max_frames is not None:
        run.config.evaluation.max_frames = max_frames
    logging.info("%s, step %d", run.workdir, run.step)
    return run


def depth_of_images(run: Run, images: Maps, protocol: DepthProtocol) -> Maps:
    """Returns the depth of images of any size, see `image_predictions`."""
    return image_predictions.predicted_depth(
        images,
        lambda frames: run.maps({"frames": frames[:, None]})["depth"],
        protocol=protocol,
        size=tuple(run.config.dataset.size),
        batch_size=run.config.evaluation.batch_size,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Drives:
    """Recordings to evaluate on.

    Attributes:
        recordings: all of one size.
        held_out: whether the run was not trained on them.
    """

    recordings: Sequence[Recording]
    held_out: bool


def report_drives(run: Run, protocol: DepthProtocol) -> page.Report:
    """Returns all metrics of a run on the drives of its data set.

    Raises:
        ValueError: the data set cannot be opened, or has no true depth.
        OSError: the data set cannot be opened.
    """
    config = run.config
    opened = data.open_data(config, str(run.workdir))
    chosen = _evaluated(opened)
    stride, most = config.dataset.frame_stride, config.evaluation.max_frames
    numbers = pairs_lib.frame_pairs(
        chosen.recordings, frame_stride=stride, max_frames=most
    )
    numbers = [(r, i) for r, i in numbers if chosen.recordings[r].depth is not None]
    if not numbers:
        raise ValueError(
            f"--workdir={run.workdir}: the drives of its data set"
            f" (config.dataset.name={config.dataset.name!r}) have no true depth;"
            " give --images and their --ground_truth"
        )
    predicted = pairs_lib.PredictedPairs(
        run.maps,
        chosen.recordings,
        numbers,
        batch_size=config.evaluation.batch_size,
        frame_stride=stride,
        held_out=chosen.held_out,
    )
    measured = drives.measure(
        protocol,
        predicted,
        config.evaluation,
        baselines=baselines.image_independent_maps(
            opened.train, max_depth=config.evaluation.max_depth
        ),
        learned_intrinsics=run.method.learns_intrinsics,
    )
    images = drives.maps_of(predicted, lambda pair: pair.recording.frames[pair.index])
    metrics = measured.metrics
    return page.Report(
        protocol,
        metrics,
        measured.depth.rows,
        {
            "Depth": tables.depth_table(metrics),
            "Motion and baselines": tables.drives_table(metrics, with_depth=False),
        },
        caveats.of_depth(protocol, metrics) + _caveats(run, chosen),
        lambda: [
            *sections.of_motion(measured),
            *sections.of_depth(
                protocol, drives.depth_inputs(predicted), measured.depth, images
            ),
        ],
    )


def write_trajectories(
    run: Run,
    folder: pathlib.Path,
    *,
    images: str | None = None,
    intrinsics: str = "",
    truth: str | None = None,
) -> tuple[pathlib.Path, pathlib.Path]:
    """Writes the trajectories that a run predicts.

    Args:
        run: predicts the camera's motion from each frame to the next.
        folder: to write to.
        images: a video, a folder of images in order, or a folder of videos or of such
            folders, brought to the size of the network's images as in training; None for the drives of the run's data set that have true poses.
        intrinsics: of the images, see `intrinsics_file`.
        truth: file or folder of trajectories; None for the poses of the data set, which
            are written too.

    Returns:
        The paths of the predicted and of the true trajectories.

    Raises:
        ValueError: the images are invalid, or there are no true poses.
    """
    chosen = _drives_of_images(run, images, intrinsics) if images else _drives(run)
    if run.config.dataset.frame_stride > 1:
        logging.warning(
            "Trained on frames %d apart, but consecutive frames are evaluated",
            run.config.dataset.frame_stride,
        )
    numbers = [
        number
        for number, recording in enumerate(chosen.recordings)
        if truth is not None or recording.world_from_camera is not None
    ]
    if not numbers:
        raise ValueError(
            f"{images or f'--workdir={run.workdir}'}: these frames have no camera poses;"
            " give them as --ground_truth, a file or folder of trajectories (for"
            " --workdir, with --images)"
        )
    predict, true, predicted = run.maps, folder / "true", folder / "predicted"
    for number in tqdm.tqdm(numbers, unit="drive", disable=None, leave=False):
        recording = chosen.recordings[number]
        name = recording.name
        if truth is None:
            poses = np.asarray(recording.world_from_camera)
            trajectory_files.write_kitti(true / f"{name}.txt", poses)
        elif len(chosen.recordings) == 1 and pathlib.Path(truth).is_file():
            # The truth of a single drive may have any name.
            name = pathlib.Path(truth).stem
        pairs = pairs_lib.PredictedPairs(
            predict,
            chosen.recordings,
            [(number, i) for i in range(len(recording) - 1)],
            batch_size=run.config.evaluation.batch_size,
            held_out=chosen.held_out,
        )
        steps = [
            (pair.prediction["rotation"], pair.prediction["translation"])
            for pair in pairs
        ]
        rotations, translations = map(np.stack, zip(*steps, strict=True))
        poses = trajectory.chain(rotations, translations)
        trajectory_files.write_kitti(predicted / f"{name}.txt", poses)
    return predicted, true if truth is None else pathlib.Path(truth)


def _evaluated(opened: data.Data) -> Drives:
    if opened.held_out:
        return Drives(opened.held_out, held_out=True)
    return Drives(opened.train, held_out=False)


def _drives(run: Run) -> Drives:
    config = run.config.copy_and_resolve_references()
    # Training drives are not needed, and rendering all of them takes a minute.
    config.dataset.num_drives = 1
    return _evaluated(data.open_data(config, str(run.workdir)))


def _drives_of_images(run: Run, images: str, intrinsics: str) -> Drives:
    dataset = run.config.dataset
    recordings = own_recordings.open_video(
        images,
        size=dataset.size,
        crop=dataset.crop,
        fit=sources.fit_of(dataset.name, dataset.fit),
        intrinsics=intrinsics,
        cache_dir=dataset.cache_dir or run.workdir / "cache",
    )
    return Drives(recordings, held_out=True)


def _caveats(run: Run, chosen: Drives) -> list[str]:
    """Returns warnings about evaluating a run on its data set."""
    warnings = []
    if not chosen.held_out:
        warnings.append("no drive is held out: measured on the training drives")
    height, width = run.config.dataset.size
    if run.config.dataset.name != "synthetic":
        warnings.append(
            f"true depth is compared at the network's size, {height}x{width}: not"
            " comparable with published numbers; give --images and --ground_truth"
        )
    stride, most = run.config.dataset.frame_stride, run.config.evaluation.max_frames
    total = len(pairs_lib.frame_pairs(chosen.recordings, frame_stride=stride))
    if 0 < most < total:
        warnings.append(f"{most} of {total} pairs of frames, evenly spread")
    return warnings
