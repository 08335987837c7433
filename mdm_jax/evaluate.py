"""Evaluates: `python -m mdm_jax.evaluate --protocol=kitti_eigen --predictions=disps.npy`.

Depth or trajectories, of a trained run or in anybody's files, are measured by a named
protocol; `--protocol=list` explains all of them. With `--output=DIR` the numbers are
written as JSON and CSV, and a page `writing.html` shows them with pictures. Examples:

    python -m mdm_jax.evaluate --protocol=synthetic --workdir=runs/demo --output=out
    python -m mdm_jax.evaluate --protocol=kitti_eigen --workdir=runs/kitti \\
        --images=test_images --ground_truth=gt_depths.npz --allow_pickle
    python -m mdm_jax.evaluate --protocol=kitti_eigen --prediction_kind=disparity \\
        --predictions=disps.npy --ground_truth=gt_depths.npz --allow_pickle
    python -m mdm_jax.evaluate --protocol=kitti_odometry \\
        --predictions=results --ground_truth=poses

Without `--images`, a run is evaluated on the held-out drives of its own data set.
"""

from __future__ import annotations

import dataclasses
import pathlib
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import app, flags, logging
from ml_collections import config_flags

from mdm_jax.evaluation import (
    alignment,
    depth_comparison,
    depth_evaluation,
    ground_truth,
    odometry_evaluation,
    predictions,
    protocols,
    summary,
    trajectory_files,
)
from mdm_jax.evaluation.report import depth_sections, odometry_sections, writing
from mdm_jax.train import reporting, startup

if TYPE_CHECKING:
    from mdm_jax.run import restore

_PROTOCOL = flags.DEFINE_string("protocol", None, "Name of a protocol, or `list`.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder for numbers and writing.html.")

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run to evaluate.")
_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Data and evaluation settings instead of the run's own."
)
_STEP = flags.DEFINE_integer("step", None, "Checkpoint of the run; default: newest.")
_SPLIT = flags.DEFINE_enum(
    "split", None, ("test", "validation"), "Held-out drives; default: the run's own."
)
_MAX_FRAMES = flags.DEFINE_integer(
    "max_frames", None, "Pairs of frames at most, 0: all; default: the run's own."
)
_INTRINSICS = flags.DEFINE_string(
    "intrinsics", "", "Of the --images of a drive, see config.dataset.intrinsics."
)

_PREDICTIONS = flags.DEFINE_string(
    "predictions", None, "File or folder of depth maps or trajectories."
)
_TRUTH = flags.DEFINE_string("ground_truth", None, "The truth, as file or folder.")
_IMAGES = flags.DEFINE_string(
    "images", None, "Folder of images: for a run to predict, else for the pictures."
)
_BY_ORDER = flags.DEFINE_bool("pair_by_order", False, "Pair files by order, not name.")

_KIND = flags.DEFINE_enum(
    "prediction_kind", "depth", depth_comparison.KINDS, "What the maps hold."
)
_PNG_UNIT = flags.DEFINE_float(
    "prediction_png_unit", 1 / 256, "What a step of a predicted 16-bit PNG is worth."
)
_INDICES = flags.DEFINE_string(
    "prediction_indices", None, "NumPy file: which predictions the true maps belong to."
)
_PICKLE = flags.DEFINE_bool(
    "allow_pickle", False, "Read Python objects, which can run code, from NumPy files."
)
_TRUTH_PNG_UNIT = flags.DEFINE_float(
    "ground_truth_png_unit", 1 / 256, "Metres of a step of a true 16-bit PNG."
)
_POINTS = flags.DEFINE_enum(
    "ground_truth_points", None, ground_truth.POINTS, "The truth is lists of points."
)
_SIZE = flags.DEFINE_list(
    "ground_truth_size", None, "Height and width that points belong to: 375,1242."
)
_CAMERAS = flags.DEFINE_string(
    "cityscapes_cameras", None, "Camera folder: the truth is Cityscapes disparity."
)
_MASKS = flags.DEFINE_string("masks", None, "Label maps that tell what moves.")
_MOVING = flags.DEFINE_list("moving_labels", None, "These labels move; default: not 0.")
_SCALING = flags.DEFINE_enum(
    "scaling", None, protocols.SCALINGS, "Departs from the protocol's scaling."
)

_ALIGNMENT = flags.DEFINE_enum(
    "alignment", None, alignment.KINDS, "Departs from the protocol's alignment."
)
_TIMES = flags.DEFINE_string(
    "times", None, "Times of the true frames: a file, or a folder with SEQ/times.txt."
)
_ALLOW_MISSING = flags.DEFINE_bool(
    "allow_missing_frames", False, "Leave out and count frames that are not predicted."
)


def predictions_of_run(
    run: restore.Run, protocol: protocols.DepthProtocol, truth: predictions.Maps
) -> predictions.Maps:
    """Returns the depth that a run sees in the images, one for each true map.

    Raises:
        ValueError: an image has no truth, or a true map no image; names the first.
    """
    from mdm_jax.run import run_evaluation

    images = _images(truth)
    if images is None:
        raise ValueError("--ground_truth for a run needs --images: what it predicts")
    return run_evaluation.depth_of_images(run, images, protocol)


def evaluate_depth(protocol: protocols.DepthProtocol) -> dict[str, float]:
    """Measures depth maps as the flags say; prints, writes and returns the metrics."""
    inputs = _depth_inputs(protocol)
    evaluation = depth_evaluation.evaluate(protocol, inputs)
    metrics = evaluation.result()
    _report(
        protocol,
        metrics,
        summary.depth_table(metrics),
        summary.depth_warnings(protocol, metrics),
        evaluation.rows,
        lambda: depth_sections.depth(
            protocol, inputs, evaluation, _images(inputs.truth)
        ),
    )
    return metrics


def evaluate_drives(protocol: protocols.DepthProtocol) -> dict[str, float]:
    """Measures a run on the drives of its data set, as `evaluate_depth` does.

    Beside depth, all is measured that is known to be true of them.
    """
    from mdm_jax.run import run_evaluation

    pairs, result, warnings = run_evaluation.measure_drives(_open_run(), protocol)
    metrics, depth = result.metrics, result.depth
    motion = summary.motion_table(metrics)
    print(f"\n{reporting.format_table('beside depth', motion)}", flush=True)
    _report(
        protocol,
        metrics,
        summary.depth_table(metrics),
        summary.depth_warnings(protocol, metrics) + warnings,
        depth.rows,
        lambda: [
            *depth_sections.motion(result),
            *depth_sections.depth(protocol, pairs.inputs(), depth, pairs.images()),
        ],
    )
    return metrics


def evaluate_odometry(protocol: protocols.OdometryProtocol) -> dict[str, float]:
    """Measures trajectories as the flags say; prints, writes and returns the metrics."""
    with tempfile.TemporaryDirectory() as folder:
        if _WORKDIR.value is None:
            paths = _required(_PREDICTIONS), _required(_TRUTH)
        else:
            from mdm_jax.run import run_evaluation

            paths = run_evaluation.write_trajectories(
                _open_run(),
                pathlib.Path(folder),
                images=_IMAGES.value,
                intrinsics=_INTRINSICS.value,
                truth=_TRUTH.value,
            )
        measured, unpredicted = odometry_evaluation.evaluate(
            protocol,
            *paths,
            times=_TIMES.value,
            allow_missing=_ALLOW_MISSING.value,
        )
        if _WORKDIR.value is not None and _OUTPUT.value is not None:
            kept = f"{_OUTPUT.value}/trajectories"
            trajectory_files.keep(paths[0], kept, truth=paths[1])
    metrics = odometry_evaluation.result(measured)
    rows = odometry_evaluation.rows(measured)
    _report(
        protocol,
        metrics,
        summary.odometry_table(metrics, rows),
        summary.odometry_warnings(protocol, rows, unpredicted),
        rows,
        lambda: odometry_sections.odometry(metrics, measured),
    )
    return metrics


def _open_run() -> restore.Run:
    """Returns the run to evaluate, with the settings that the flags change."""
    from mdm_jax.run import run_evaluation

    return run_evaluation.open_run(
        _required(_WORKDIR),
        config=_CONFIG.value,
        step=_STEP.value,
        split=_SPLIT.value,
        max_frames=_MAX_FRAMES.value,
    )


def _depth_inputs(protocol: protocols.DepthProtocol) -> depth_evaluation.Inputs:
    """Returns the maps that the flags name, in the order of the truth."""
    truth = ground_truth.open_truth(
        _required(_TRUTH),
        png_unit=_TRUTH_PNG_UNIT.value,
        points=_POINTS.value,
        size=_integers(_SIZE, 2) if _POINTS.value else None,
        cameras=_CAMERAS.value,
        allow_pickle=_PICKLE.value,
    )
    if _WORKDIR.value is not None:
        kind, maps = "depth", predictions_of_run(_open_run(), protocol, truth)
    else:
        kind, maps = _KIND.value, _open_predictions(truth)
    labels = None
    if _MASKS.value is not None:
        labels = predictions.open_maps(_MASKS.value, labels=True)
        labels = predictions.paired(labels, truth, by_order=_BY_ORDER.value)
    moving = _integers(_MOVING) if _MOVING.value else ()
    return depth_evaluation.Inputs(truth, maps, kind, labels, moving)


def _open_predictions(truth: predictions.Maps) -> predictions.Maps:
    """Returns the predicted maps that the flags name, in the order of the truth."""
    path, unit = _required(_PREDICTIONS), _PNG_UNIT.value
    maps = predictions.open_maps(path, png_unit=unit, allow_pickle=_PICKLE.value)
    if _INDICES.value is not None:
        maps = maps.chosen([int(i) for i in np.load(_INDICES.value).ravel()])
    return predictions.paired(maps, truth, by_order=_BY_ORDER.value)


def _images(truth: predictions.Maps) -> predictions.Maps | None:
    """Returns the images that the flags name, in the order of the truth."""
    if _IMAGES.value is None:
        return None
    images = predictions.open_images(_IMAGES.value)
    return predictions.paired(images, truth, by_order=_BY_ORDER.value)


def _report(
    protocol: protocols.Protocol,
    metrics: Mapping[str, float],
    table: summary.Table,
    warnings: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    sections: Callable[[], Sequence[writing.Section]],
):
    """Prints what was measured and, with `--output`, writes it."""
    print(f"\n{reporting.format_table(protocol.name, table)}\n", flush=True)
    for warning in warnings:
        logging.warning("%s", warning)
    if _OUTPUT.value is not None:
        page = writing.write_evaluation(
            _OUTPUT.value,
            protocol=protocol,
            metrics=metrics,
            warnings=warnings,
            table=table,
            rows=rows,
            sections=sections(),
            command=" ".join(sys.argv[1:]),
        )
        logging.info("Report: %s", page)


def _required(flag: flags.FlagHolder) -> str:
    if flag.value is None:
        raise ValueError(
            f"--{flag.name} is missing: {flag._flagvalues[flag.name].help}"
        )
    return flag.value


def _integers(flag: flags.FlagHolder, count: int | None = None) -> tuple[int, ...]:
    words = flag.value or ()
    if not all(map(str.isdigit, words)) or len(words) != (count or len(words) or 1):
        raise ValueError(
            f"--{flag.name} expects {count or 'some'} whole numbers with commas, got"
            f" {','.join(words)!r}"
        )
    return tuple(map(int, words))


def main(argv: list[str]):
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: options start with --")
    logging.set_verbosity(logging.INFO)
    startup.quiet_libraries()
    startup.configure_jax(1, "")
    if _PROTOCOL.value == "list":
        for title, table in protocols.tables().items():
            print(f"\n{reporting.format_table(title, table)}")
        print("\nSources")
        for name, one in protocols.PROTOCOLS.items():
            print(f"  {name}: {one.source}")
        return
    try:
        protocol = protocols.get(_required(_PROTOCOL))
        if _WORKDIR.value is not None and _PREDICTIONS.value is not None:
            raise ValueError("--workdir or --predictions: only one can be evaluated")
        if isinstance(protocol, protocols.DepthProtocol):
            if _SCALING.value is not None:
                protocol = dataclasses.replace(protocol, scaling=_SCALING.value)
            if _WORKDIR.value is not None and not (_IMAGES.value or _TRUTH.value):
                evaluate_drives(protocol)
            else:
                evaluate_depth(protocol)
        else:
            if _ALIGNMENT.value is not None:
                protocol = dataclasses.replace(protocol, alignment=_ALIGNMENT.value)
            evaluate_odometry(protocol)
    except (ValueError, OSError) as error:
        if logging.level_debug():
            raise
        sys.exit(f"error: {error}")


def run():
    """The console entry point."""
    flags.mark_flags_as_required(["protocol"])
    app.run(main)


if __name__ == "__main__":
    run()
