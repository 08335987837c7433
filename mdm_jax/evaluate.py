"""Evaluates: `python -m mdm_jax.evaluate --protocol=kitti_eigen --predictions=disps.npy`.

Depth or trajectories, of a trained run or in anybody's files, are measured by a named
protocol; `--protocol=list` explains all of them. With `--output=DIR` the numbers are
written as JSON and CSV, and a page `report.html` shows them with pictures. Examples:

    python -m mdm_jax.evaluate --protocol=kitti_eigen --prediction_kind=disparity \\
        --predictions=disps.npy --ground_truth=gt_depths.npz --allow_pickle \\
        --output=out
    python -m mdm_jax.evaluate --protocol=kitti_odometry \\
        --predictions=results --ground_truth=poses
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections
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
    report,
    summary,
)
from mdm_jax.train import reporting
from mdm_jax.visualize import depth_examples, panel, plots

_PROTOCOL = flags.DEFINE_string("protocol", None, "Name of a protocol, or `list`.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder for numbers and report.html.")
_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Experiment file of the run to evaluate."
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run to evaluate.")
_PREDICTIONS = flags.DEFINE_string(
    "predictions", None, "File or folder of depth maps or trajectories."
)
_TRUTH = flags.DEFINE_string("ground_truth", None, "The truth, as file or folder.")
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
_IMAGES = flags.DEFINE_string("images", None, "Folder of images, for the pictures.")
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

# Pictures of so many of the worst and of the best images, and of so many drives.
_EXAMPLES = 3
_MAX_TRAJECTORIES = 8


def predictions_of_run(
    config: ml_collections.ConfigDict | None, workdir: str
) -> predictions.Maps:
    """Returns the depth that the newest checkpoint of a run predicts.

    Raises:
        ValueError: always, until runs can be evaluated.
    """
    del config
    raise ValueError(
        f"--workdir={workdir}: runs cannot be evaluated here yet; write their depth to"
        " files and pass these as --predictions"
    )


def evaluate_depth(protocol: protocols.DepthProtocol) -> dict[str, float]:
    """Measures depth as the flags say; prints, writes and returns the metrics."""
    inputs = _depth_inputs()
    evaluation = depth_evaluation.evaluate(protocol, inputs)
    metrics = evaluation.result()
    warnings = summary.depth_warnings(protocol, metrics)
    table = summary.depth_table(metrics)
    _print(protocol.name, table, warnings)
    if _OUTPUT.value is None:
        return metrics
    by_range = evaluation.by_range()
    bars = plots.error_by_range(by_range)
    sections = [
        report.Section(
            "Error by true depth",
            table=summary.records_table(by_range),
            pictures={"Relative error, and share of the pixels": bars},
        ),
        report.Section(
            "Worst and best images",
            pictures=_example_pictures(protocol, inputs, evaluation.rows),
        ),
    ]
    _write(protocol, metrics, warnings, table, evaluation.rows, "per_image", sections)
    return metrics


def evaluate_odometry(protocol: protocols.OdometryProtocol) -> dict[str, float]:
    """Measures trajectories as the flags say; prints, writes and returns the metrics."""
    if _WORKDIR.value is not None:
        predictions_of_run(_CONFIG.value, _WORKDIR.value)
    measured, unpredicted = odometry_evaluation.evaluate(
        protocol,
        _required(_PREDICTIONS),
        _required(_TRUTH),
        times=_TIMES.value,
        allow_missing=_ALLOW_MISSING.value,
    )
    metrics = odometry_evaluation.result(measured)
    rows = odometry_evaluation.rows(measured)
    warnings = summary.odometry_warnings(protocol, rows, unpredicted)
    table = summary.odometry_table(metrics, rows)
    _print(protocol.name, table, warnings)
    if _OUTPUT.value is not None:
        sections = _odometry_sections(metrics, measured) if protocol.alignment else []
        _write(protocol, metrics, warnings, table, rows, "per_sequence", sections)
    return metrics


def _depth_inputs() -> depth_evaluation.Inputs:
    """Returns the maps that the flags name, in the order of the truth."""
    convert = None
    png_unit = _TRUTH_PNG_UNIT.value
    if _CAMERAS.value is not None:
        convert, png_unit = ground_truth.from_cityscapes(_CAMERAS.value), 1
    elif _POINTS.value is not None:
        height, width = _integers(_SIZE, 2)
        convert = ground_truth.from_points((height, width), order=_POINTS.value)
    truth = predictions.open_maps(
        _required(_TRUTH),
        png_unit=png_unit,
        allow_pickle=_PICKLE.value,
        convert=convert,
    )
    if _WORKDIR.value is not None:
        maps = predictions_of_run(_CONFIG.value, _WORKDIR.value)
    else:
        maps = predictions.open_maps(
            _required(_PREDICTIONS),
            png_unit=_PNG_UNIT.value,
            allow_pickle=_PICKLE.value,
        )
    if _INDICES.value is not None:
        maps = maps.chosen([int(i) for i in np.load(_INDICES.value).ravel()])
    labels = None
    if _MASKS.value is not None:
        labels = predictions.open_maps(_MASKS.value, labels=True)
        labels = predictions.paired(labels, truth, by_order=_BY_ORDER.value)
    return depth_evaluation.Inputs(
        truth,
        predictions.paired(maps, truth, by_order=_BY_ORDER.value),
        _KIND.value,
        labels,
        _integers(_MOVING) if _MOVING.value else (),
    )


def _example_pictures(
    protocol: protocols.DepthProtocol,
    inputs: depth_evaluation.Inputs,
    rows: Sequence[Mapping[str, Any]],
) -> dict[str, np.ndarray]:
    """Returns panels of the images with the largest and the least errors."""
    images = None
    if _IMAGES.value is not None:
        images = predictions.open_images(_IMAGES.value)
        images = predictions.paired(
            images, inputs.truth, by_order=_BY_ORDER.value or not inputs.truth.named
        )
    order = [i for i, row in enumerate(rows) if "abs_rel" in row]
    order.sort(key=lambda i: -rows[i]["abs_rel"])
    chosen = {"Worst": order[:_EXAMPLES]}
    if len(order) > _EXAMPLES:
        chosen["Best"] = order[_EXAMPLES:][-_EXAMPLES:][::-1]
    pictures = {}
    for title, indices in chosen.items():
        panel_rows = []
        for i in indices:
            maps = depth_comparison.seen(
                protocol,
                inputs.predictions.places[i],
                inputs.truth.read(i),
                inputs.predictions.read(i),
                kind=inputs.kind,
            )
            panel_rows.append(
                depth_examples.row(
                    maps.truth,
                    maps.depth * rows[i]["factor"],
                    maps.counted,
                    image=None if images is None else images.read(i),
                )
            )
        labels = [
            f"{rows[i]['name']}: Abs Rel {rows[i]['abs_rel']:.4f}" for i in indices
        ]
        pictures[f"{title} images"] = panel.render(panel_rows, labels=labels)
    return pictures


def _odometry_sections(
    metrics: Mapping[str, float], measured: Sequence[odometry_evaluation.Measured]
) -> list[report.Section]:
    pictures = {
        f"Sequence {one.name} from above, aligned": plots.trajectory(
            one.true, one.aligned
        )
        for one in measured[:_MAX_TRAJECTORIES]
        if one.aligned is not None
    }
    by_length = odometry_evaluation.by_length(measured)
    sections = [
        report.Section("Every alignment", table=summary.alignment_table(metrics)),
        report.Section("Trajectories", pictures=pictures),
    ]
    if by_length:
        curves = {"Mean errors of all stretches": plots.error_by_length(by_length)}
        table = summary.records_table(by_length)
        sections.append(report.Section("Error by length", table=table, pictures=curves))
    return sections


def _write(
    protocol: protocols.Protocol,
    metrics: Mapping[str, float],
    warnings: Sequence[str],
    table: summary.Table,
    rows: Sequence[Mapping[str, Any]],
    rows_name: str,
    sections: Sequence[report.Section],
):
    settings = [["setting", "value"], *map(list, protocol.settings().items())]
    page = report.write(
        _required(_OUTPUT),
        title=f"Evaluation: {protocol.name}",
        metrics=metrics,
        protocol=dataclasses.asdict(protocol) | {"warnings": list(warnings)},
        rows=rows,
        rows_name=rows_name,
        sections=[
            report.Section("Result", warnings=warnings, table=table),
            *sections,
            report.Section(
                "Protocol",
                text=[protocol.source, f"Command: {' '.join(sys.argv[1:])}"],
                table=settings,
            ),
        ],
    )
    logging.info("Report: %s", page)


def _print(title: str, table: summary.Table, warnings: Sequence[str]):
    print(f"\n{reporting.format_table(title, table)}\n", flush=True)
    for warning in warnings:
        logging.warning("%s", warning)


def _required(flag: flags.FlagHolder) -> str:
    if flag.value is None:
        raise ValueError(
            f"--{flag.name} is missing: {flag._flagvalues[flag.name].help}"
        )
    return flag.value


def _integers(flag: flags.FlagHolder, count: int | None = None) -> list[int]:
    try:
        values = [int(word) for word in flag.value or ()]
    except ValueError:
        values = []
    if not values or count not in (None, len(values)):
        raise ValueError(
            f"--{flag.name} expects {count or 'some'} whole numbers with commas between"
            f" them, got {','.join(flag.value or ())!r}"
        )
    return values


def main(argv: list[str]):
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: options start with --")
    logging.set_verbosity(logging.INFO)
    if _PROTOCOL.value == "list":
        for title, table in protocols.tables().items():
            print(f"\n{reporting.format_table(title, table)}")
        print("\nSources")
        for name, one in protocols.PROTOCOLS.items():
            print(f"  {name}: {one.source}")
        return
    try:
        protocol = protocols.get(_required(_PROTOCOL))
        if isinstance(protocol, protocols.DepthProtocol):
            if _SCALING.value is not None:
                protocol = dataclasses.replace(protocol, scaling=_SCALING.value)
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
