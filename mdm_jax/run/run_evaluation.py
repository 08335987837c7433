"""What a trained run predicts of drives and images that are to be evaluated.

Drives are those of the run's data set: held out ones, or where there are none those it
was trained on. Predictions are made a batch at a time, on the default device.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import jax
import ml_collections
import numpy as np
import tqdm
from absl import logging

from mdm_jax.evaluation import (
    baselines,
    drive_evaluation,
    evaluate,
    image_depth,
    trajectory_files,
)
from mdm_jax.evaluation.predictions import Maps
from mdm_jax.evaluation.protocols import DepthProtocol
from mdm_jax.methods import inference
from mdm_jax.prediction import trajectory
from mdm_jax.recording import opening
from mdm_jax.recording.arrays import Recording
from mdm_jax.run import restore
from mdm_jax.run.restore import Run
from mdm_jax.train import data


def open_run(
    workdir: str,
    *,
    config: ml_collections.ConfigDict | None = None,
    step: int | None = None,
    split: str | None = None,
    max_frames: int | None = None,
) -> Run:
    """Returns a run, to be evaluated otherwise than its config says.

    Args:
        workdir: see `restore.load_run`, as for `config` and `step`.
        config: of data and evaluation.
        step: of the checkpoint.
        split: `test` or `validation`; None for `config.evaluation.split`.
        max_frames: None for `config.evaluation.max_frames`.

    Raises:
        ValueError: see `restore.load_run`.
    """
    run = restore.load_run(workdir, config=config, step=step)
    evaluation = run.config.evaluation
    if split is not None:
        evaluation.split = split
    if max_frames is not None:
        evaluation.max_frames = max_frames
    logging.info("%s, step %d", run.workdir, run.step)
    return run


def depth_of_images(run: Run, images: Maps, protocol: DepthProtocol) -> Maps:
    """Returns the depth of images of any size, see `image_depth`."""
    predict = _predict(run)
    return image_depth.predicted_depth(
        images,
        lambda images: predict({"frames": images[:, None]})["depth"],
        protocol=protocol,
        size=tuple(run.config.dataset.size),
        batch_size=run.config.evaluation.batch_size,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Drives:
    """Recordings to evaluate on.

    Attributes:
        recordings: of one size.
        held_out: whether the run was not trained on them.
    """

    recordings: Sequence[Recording]
    held_out: bool


def evaluated_drives(recordings: data.Data) -> Drives:
    """Returns the drives of a data set that are evaluated on."""
    if recordings.held_out:
        return Drives(recordings.held_out, held_out=True)
    return Drives(recordings.train, held_out=False)


def measure_drives(
    run: Run, protocol: DepthProtocol
) -> tuple[drive_evaluation.PredictedPairs, drive_evaluation.Result, list[str]]:
    """Returns the pairs of the run's drives, what was measured, and warnings.

    Raises:
        ValueError: the data set cannot be opened, or has no true depth.
        OSError: likewise.
    """
    recordings = data.open_data(run.config, str(run.workdir))
    drives = evaluated_drives(recordings)
    pairs = _pairs(run, drives)
    result = drive_evaluation.measure(
        protocol,
        pairs,
        run.config.evaluation,
        baselines=baselines.image_independent_maps(
            recordings.train, max_depth=run.config.evaluation.max_depth
        ),
        learned_intrinsics=run.method.learns_intrinsics,
    )
    return pairs, result, _warnings(run, drives)


def write_trajectories(
    run: Run,
    folder: pathlib.Path,
    *,
    images: str | None = None,
    intrinsics: str = "",
    truth: str | None = None,
) -> tuple[pathlib.Path, pathlib.Path]:
    """Writes how a run sees its camera go; returns the paths of that and of the truth.

    Drives without true poses are left out, where the poses are the data set's.

    Args:
        run: that predicts.
        folder: to write into.
        images: a video, or a folder of images in order, of videos or of such folders,
            cut to the shape of the network's images as in training; None for the drives
            of the run's data set.
        intrinsics: of the images, as `intrinsics_file` explains.
        truth: file or folder of trajectories; None for the poses of the data set.

    Raises:
        ValueError: the images cannot be used; or there are no true poses.
    """
    dataset = run.config.dataset
    if dataset.frame_stride > 1:
        logging.warning(
            "Trained on frames %d apart; the camera is followed from each to the next",
            dataset.frame_stride,
        )
    if images is None:
        config = run.config.copy_and_resolve_references()
        # Held-out drives are others, and rendering those trained on takes a minute.
        config.dataset.num_drives = 1
        drives = evaluated_drives(data.open_data(config, str(run.workdir)))
    else:
        recordings = opening.open_video(
            images,
            size=dataset.size,
            crop=dataset.crop,
            intrinsics=intrinsics,
            cache_dir=dataset.cache_dir or run.workdir / "cache",
        )
        drives = Drives(recordings, held_out=True)
    every = range(len(drives.recordings))
    poses = [one.world_from_camera for one in drives.recordings]
    chosen = [i for i in every if truth is not None or poses[i] is not None]
    if not chosen:
        raise ValueError(
            f"{images or f'--workdir={run.workdir}'}: no camera poses are known of"
            " these frames; give them as --ground_truth, a file or folder of"
            " trajectories (for --workdir, with --images)"
        )
    true, predicted = folder / "true", folder / "predicted"
    for number, rotations, translations in _camera_motions(run, drives, chosen):
        name = drives.recordings[number].name
        if truth is None:
            known = np.asarray(poses[number])
            trajectory_files.write_kitti(true / f"{name}.txt", known)
        elif len(drives.recordings) == 1 and pathlib.Path(truth).is_file():
            # The truth of a single drive need not have its name.
            name = pathlib.Path(truth).stem
        way = trajectory.chain(rotations, translations)
        trajectory_files.write_kitti(predicted / f"{name}.txt", way)
    return predicted, true if truth is None else pathlib.Path(truth)


def _warnings(run: Run, drives: Drives) -> list[str]:
    """Returns what to be careful about where a run is measured on its data set."""
    found = []
    if not drives.held_out:
        found.append("no drive is held out: measured on those that were trained on")
    height, width = run.config.dataset.size
    if run.config.dataset.name != "synthetic":
        found.append(
            f"true depth is compared at the network's size, {width}x{height}: not"
            " comparable with published numbers; give --images and --ground_truth"
        )
    stride, most = run.config.dataset.frame_stride, run.config.evaluation.max_frames
    total = len(evaluate.frame_pairs(drives.recordings, frame_stride=stride))
    if 0 < most < total:
        found.append(f"{most} of {total} pairs of frames, evenly spread")
    return found


def _pairs(run: Run, drives: Drives) -> drive_evaluation.PredictedPairs:
    """Returns the pairs of frames that the run is evaluated on in training too."""
    stride, evaluation = run.config.dataset.frame_stride, run.config.evaluation
    chosen = evaluate.frame_pairs(
        drives.recordings, frame_stride=stride, max_frames=evaluation.max_frames
    )
    chosen = [(r, i) for r, i in chosen if drives.recordings[r].depth is not None]
    if not chosen:
        raise ValueError(
            f"--workdir={run.workdir}: the drives of its data set"
            f" (config.dataset.name={run.config.dataset.name!r}) have no true depth;"
            " give --images and their --ground_truth"
        )
    return drive_evaluation.PredictedPairs(
        _predict(run),
        drives.recordings,
        chosen,
        batch_size=evaluation.batch_size,
        frame_stride=stride,
        held_out=drives.held_out,
    )


def _camera_motions(
    run: Run, drives: Drives, numbers: Sequence[int]
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yields some of the drives with the egomotion from every frame to the next.

    Yields:
        The drive's number, rotations `[n-1 3 3]` and translations `[n-1 3]` of
        `source_from_target`, from a frame (target) to the next (source).
    """
    predict = _predict(run)
    total = sum(len(drives.recordings[number]) - 1 for number in numbers)
    with tqdm.tqdm(total=total, unit="pair", disable=None, leave=False) as bar:
        for number in numbers:
            pairs = evaluate.predict_pairs(
                predict,
                drives.recordings,
                [(number, i) for i in range(len(drives.recordings[number]) - 1)],
                batch_size=run.config.evaluation.batch_size,
                held_out=drives.held_out,
            )
            rotations, translations = [], []
            for pair in pairs:
                rotations.append(pair.prediction["rotation"])
                translations.append(pair.prediction["translation"])
                bar.update()
            yield number, np.stack(rotations), np.stack(translations)


def _predict(run: Run) -> drive_evaluation.Predict:
    predict = inference.make_predict(run.method)
    step = np.int32(run.step)

    def predict_arrays(arrays: Mapping[str, np.ndarray]) -> Mapping[str, jax.Array]:
        return predict(run.variables, arrays, step)

    return predict_arrays
