"""Predictions in files, of any method, measured by a protocol.

metrics = evaluate_files(
    "kitti_eigen", "disparity.npy", "truth.npz", prediction_kind="disparity"
)
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import numpy as np

from mdm_jax.evaluation import (
    depth,
    depth_comparison,
    kitti_frames,
    map_files,
    odometry,
    protocols,
    true_depth,
)
from mdm_jax.evaluation.map_files import Maps
from mdm_jax.evaluation.report import caveats, page, sections, tables

Path = str | os.PathLike[str]


# In these classes, annotations hold the help of the command's flags and their choices.


@dataclasses.dataclass(frozen=True)
class DepthFiles:
    """Files with depth maps, and how to read them."""

    predictions: Annotated[Path | None, "File or folder of predictions."] = None
    ground_truth: Annotated[Path | None, "File or folder of the truth."] = None
    images: Annotated[
        Path | None, "Folder of images, for a run to predict or the report to show."
    ] = None
    masks: Annotated[Path | None, "File or folder of label maps of objects."] = None
    moving_labels: Annotated[
        Sequence[int], "Labels that move; default: all but 0."
    ] = ()
    pair_by_order: Annotated[bool, "Pair files in order instead of by name."] = False
    prediction_kind: Annotated[
        str, "What predicted maps contain.", depth_comparison.KINDS
    ] = "depth"
    prediction_png_unit: Annotated[
        float, "Value of one step of a predicted 16-bit PNG."
    ] = 1 / 256
    prediction_indices: Annotated[
        Path | None, "NumPy file with the indices of the predictions that have a truth."
    ] = None
    allow_pickle: Annotated[
        bool, "Read Python objects, which can run code, from NumPy files."
    ] = False
    ground_truth_png_unit: Annotated[float, "Metres per step of a true 16-bit PNG."] = (
        1 / 256
    )
    ground_truth_points: Annotated[
        str | None, "Column order if the truth is lists of points.", true_depth.POINTS
    ] = None
    ground_truth_size: Annotated[
        Sequence[int], "Height and width of the images of points: 375x1242."
    ] = ()
    kitti_frames: Annotated[
        Path | None,
        "List of frames, such as the Eigen test set: ground_truth is the"
        " folder of KITTI's raw data, whose LiDAR and images are evaluated.",
    ] = None
    cityscapes_cameras: Annotated[
        Path | None, "Camera folder if the truth is Cityscapes disparity."
    ] = None

    def open(
        self, predict: Callable[[Maps], Maps] | None = None
    ) -> tuple[depth.Inputs, Maps | None]:
        """Returns the maps to compare and the images, in the order of the truth.

        The predictions are those in files or, if given, `predict` of the images.
        """
        truth, images = self._truth_and_images()
        labels = None
        if self.masks is not None:
            labels = map_files.open_maps(self.masks, labels=True)
            labels = self._paired(labels, truth)
        if predict is None:
            kind, predictions = self.prediction_kind, self._predictions(truth)
        elif images is not None:
            kind, predictions = "depth", predict(images)
        else:
            raise ValueError("--ground_truth for a run needs --images to predict")
        inputs = depth.Inputs(truth, predictions, kind, labels, self.moving_labels)
        return inputs, images

    def _truth_and_images(self) -> tuple[Maps, Maps | None]:
        path = _given(self.ground_truth, "ground_truth")
        images = None
        if self.kitti_frames is not None:
            truth, images = kitti_frames.open_frames(path, self.kitti_frames)
        else:
            truth = true_depth.open_truth(
                path,
                png_unit=self.ground_truth_png_unit,
                points=self.ground_truth_points,
                size=self.ground_truth_size or None,
                cameras=self.cityscapes_cameras,
                allow_pickle=self.allow_pickle,
            )
        if self.images is not None:
            images = self._paired(map_files.open_images(self.images), truth)
        return truth, images

    def _predictions(self, truth: Maps) -> Maps:
        maps = map_files.open_maps(
            _given(self.predictions, "predictions"),
            png_unit=self.prediction_png_unit,
            allow_pickle=self.allow_pickle,
        )
        if self.prediction_indices is not None:
            indices = np.load(self.prediction_indices).ravel()
            maps = maps.chosen([int(index) for index in indices])
        return self._paired(maps, truth)

    def _paired(self, maps: Maps, truth: Maps) -> Maps:
        return map_files.paired(maps, truth, by_order=self.pair_by_order)


@dataclasses.dataclass(frozen=True)
class TrajectoryFiles:
    """Files with trajectories."""

    predictions: Annotated[Path | None, "File or folder of predictions."] = None
    ground_truth: Annotated[Path | None, "File or folder of the truth."] = None
    times: Annotated[
        Path | None, "Times of the true frames: a file, or a folder with SEQ/times.txt."
    ] = None
    allow_missing_frames: Annotated[
        bool, "Leave out and count frames without prediction."
    ] = False


def _given(path: Path | None, name: str) -> Path:
    if path is None:
        raise ValueError(f"{name} is missing: give a file or folder")
    return path


def evaluate_files(
    protocol: str | protocols.Protocol,
    predictions: Path,
    ground_truth: Path,
    *,
    output: Path | None = None,
    **options: Any,
) -> dict[str, float]:
    """Returns the metrics, by key, of predictions in files.

    Args:
        protocol: name of a protocol, see `protocols.PROTOCOLS`, or a changed one.
        predictions: file or folder of depth maps or trajectories.
        ground_truth: file or folder of the truth.
        output: folder for the numbers and the report; None to write nothing.
        **options: fields of `DepthFiles` or `TrajectoryFiles`.

    Raises:
        ValueError: files are missing, damaged or do not match, or a prediction is
            invalid; names the first.
        TypeError: an option is unknown.
    """
    if isinstance(protocol, str):
        protocol = protocols.get(protocol)
    is_depth = isinstance(protocol, protocols.DepthProtocol)
    kind = DepthFiles if is_depth else TrajectoryFiles
    names = [field.name for field in dataclasses.fields(kind)]
    if unknown := options.keys() - set(names):
        raise TypeError(
            f"{protocol.name} has no option {min(unknown)!r}; its options are"
            f" {', '.join(names)}"
        )
    report = report_files(protocol, kind(predictions, ground_truth, **options))
    if output is not None:
        page.write(output, report, command=f"evaluate_files({protocol.name!r}, ...)")
    return dict(report.metrics)


def report_files(
    protocol: protocols.Protocol,
    files: DepthFiles | TrajectoryFiles,
    *,
    predict: Callable[[Maps], Maps] | None = None,
) -> page.Report:
    """Returns what a protocol finds for files; errors are those of `evaluate_files`.

    Args:
        protocol: how to measure.
        files: of the kind that the protocol measures.
        predict: see `DepthFiles.open`.
    """
    if isinstance(files, DepthFiles):
        return _report_depth(protocol, files, predict)
    return _report_trajectories(protocol, files)


def _report_depth(
    protocol: Any, files: DepthFiles, predict: Callable[[Maps], Maps] | None
) -> page.Report:
    inputs, images = files.open(predict)
    evaluation = depth.evaluate(protocol, inputs)
    metrics = evaluation.result()
    return page.Report(
        protocol,
        metrics,
        evaluation.rows,
        {"Result": tables.depth_table(metrics)},
        caveats.of_depth(protocol, metrics),
        lambda: sections.of_depth(protocol, inputs, evaluation, images),
    )


def _report_trajectories(protocol: Any, files: TrajectoryFiles) -> page.Report:
    measured, unpredicted = odometry.evaluate(
        protocol,
        _given(files.predictions, "predictions"),
        _given(files.ground_truth, "ground_truth"),
        times=files.times,
        allow_missing=files.allow_missing_frames,
    )
    metrics = odometry.result(measured)
    rows = [sequence.row() for sequence in measured]
    return page.Report(
        protocol,
        metrics,
        rows,
        {"Result": tables.odometry_table(metrics, rows)},
        caveats.of_odometry(protocol, rows, unpredicted),
        lambda: sections.of_odometry(metrics, measured),
    )
