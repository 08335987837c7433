"""Predictions in files, of any method, measured by a protocol.

metrics = evaluate_files(
    "kitti_eigen", "disparity.npy", "truth.npz", prediction_kind="disparity"
)
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mdm_jax.evaluation import depth, map_files, odometry, protocols, true_depth
from mdm_jax.evaluation.map_files import Maps
from mdm_jax.evaluation.report import caveats, page, sections, tables

Path = str | os.PathLike[str]


@dataclasses.dataclass(frozen=True)
class DepthFiles:
    """Files with depth maps, and how to read them.

    Attributes:
        predictions: file or folder of depth maps; None if a run predicts the images.
        ground_truth: file or folder of the truth.
        images: folder of images, shown in the report or predicted by a run.
        masks: file or folder of label maps of moving objects.
        pair_by_order: pair files in order instead of by name.
        prediction_kind: `depth` or `disparity`.
        prediction_png_unit: value of one step of a predicted 16-bit PNG.
        prediction_indices: NumPy file with the indices of the predictions that belong
            to the true maps.
        allow_pickle: read Python objects, which can run code, from NumPy files.
        ground_truth_png_unit: metres per step of a true 16-bit PNG.
        ground_truth_points: column order if the truth is lists of points, one of
            `true_depth.POINTS`.
        ground_truth_size: (height, width) of the images that points belong to.
        cityscapes_cameras: camera folder if the truth is Cityscapes disparity.
        moving_labels: the labels that move; None for all but 0.
    """

    predictions: Path | None
    ground_truth: Path
    images: Path | None = None
    masks: Path | None = None
    pair_by_order: bool = False
    prediction_kind: str = "depth"
    prediction_png_unit: float = 1 / 256
    prediction_indices: Path | None = None
    allow_pickle: bool = False
    ground_truth_png_unit: float = 1 / 256
    ground_truth_points: str | None = None
    ground_truth_size: Sequence[int] | None = None
    cityscapes_cameras: Path | None = None
    moving_labels: Sequence[int] | None = None

    def open(
        self, predict: Callable[[Maps], Maps] | None = None
    ) -> tuple[depth.Inputs, Maps | None]:
        """Returns the maps to compare and the images, in the order of the truth.

        Args:
            predict: returns the depth of images, in place of predictions in files.

        Raises:
            ValueError: files are missing, damaged or do not match; names the first.
        """
        truth = true_depth.open_truth(
            self.ground_truth,
            png_unit=self.ground_truth_png_unit,
            points=self.ground_truth_points,
            size=self.ground_truth_size,
            cameras=self.cityscapes_cameras,
            allow_pickle=self.allow_pickle,
        )
        images = labels = None
        if self.images is not None:
            images = self._paired(map_files.open_images(self.images), truth)
        if self.masks is not None:
            labels = map_files.open_maps(self.masks, labels=True)
            labels = self._paired(labels, truth)
        if predict is None:
            kind, predictions = self.prediction_kind, self._predictions(truth)
        elif images is not None:
            kind, predictions = "depth", predict(images)
        else:
            raise ValueError("--ground_truth for a run needs --images to predict")
        inputs = depth.Inputs(
            truth, predictions, kind, labels, self.moving_labels or ()
        )
        return inputs, images

    def _predictions(self, truth: Maps) -> Maps:
        if self.predictions is None:
            raise ValueError("the file or folder of predictions is missing")
        maps = map_files.open_maps(
            self.predictions,
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
    """Files with trajectories.

    Attributes:
        predictions: trajectory file, or folder of them.
        ground_truth: file or folder of the truth.
        times: times of the true frames: a file, or a folder with `SEQ/times.txt`.
        allow_missing_frames: leave out and count frames without prediction.
    """

    predictions: Path
    ground_truth: Path
    times: Path | None = None
    allow_missing_frames: bool = False


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
    """Returns what a protocol finds for files.

    Args:
        protocol: how to measure.
        files: of the kind that the protocol measures.
        predict: see `DepthFiles.open`.

    Raises:
        ValueError: see `evaluate_files`.
    """
    if isinstance(protocol, protocols.DepthProtocol):
        assert isinstance(files, DepthFiles)
        return _report_depth(protocol, files, predict)
    assert isinstance(files, TrajectoryFiles)
    return _report_trajectories(protocol, files)


def _report_depth(
    protocol: protocols.DepthProtocol,
    files: DepthFiles,
    predict: Callable[[Maps], Maps] | None,
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


def _report_trajectories(
    protocol: protocols.OdometryProtocol, files: TrajectoryFiles
) -> page.Report:
    measured, unpredicted = odometry.evaluate(
        protocol,
        files.predictions,
        files.ground_truth,
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
