"""Evaluates depth or trajectories by a published protocol.

The predictions are those of a trained run, or files of any method; `--protocol=list`
explains the protocols. `--output=DIR` writes the numbers as JSON and CSV, and a page
`report.html` with pictures. Examples:

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
from typing import TYPE_CHECKING, Any

from absl import app, flags, logging
from ml_collections import config_flags

from mdm_jax import command_line
from mdm_jax.evaluation import (
    alignment,
    depth_comparison,
    evaluate_files,
    protocols,
    trajectory_files,
    true_depth,
)
from mdm_jax.evaluation.report import page
from mdm_jax.train import reporting, startup

if TYPE_CHECKING:
    from mdm_jax.run.run import Run

_PROTOCOL = flags.DEFINE_string("protocol", None, "Name of a protocol, or `list`.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder for the numbers and report.html.")

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
_TRUTH = flags.DEFINE_string("ground_truth", None, "File or folder of the truth.")
_IMAGES = flags.DEFINE_string(
    "images", None, "Folder of images, for a run to predict or for the report to show."
)
_SIZE = flags.DEFINE_list(
    "ground_truth_size", None, "Size of the images of points: 375x1242 (or 375,1242)."
)
_MOVING = flags.DEFINE_list(
    "moving_labels", None, "The labels that move; default: all but 0."
)
# Like those above, these are the fields of `DepthFiles` and `TrajectoryFiles`.
_OPTIONS = (
    flags.DEFINE_bool("pair_by_order", False, "Pair files in order, not by name."),
    flags.DEFINE_enum(
        "prediction_kind", "depth", depth_comparison.KINDS, "What the maps contain."
    ),
    flags.DEFINE_float(
        "prediction_png_unit", 1 / 256, "Value of one step of a predicted 16-bit PNG."
    ),
    flags.DEFINE_string(
        "prediction_indices", None, "NumPy file: indices of predictions with a truth."
    ),
    flags.DEFINE_bool(
        "allow_pickle", False, "Read Python objects, which can run code, from NumPy."
    ),
    flags.DEFINE_float(
        "ground_truth_png_unit", 1 / 256, "Metres per step of a true 16-bit PNG."
    ),
    flags.DEFINE_enum(
        "ground_truth_points", None, true_depth.POINTS, "The truth is lists of points."
    ),
    flags.DEFINE_string(
        "cityscapes_cameras", None, "Camera folder: the truth is Cityscapes disparity."
    ),
    flags.DEFINE_string("masks", None, "Label maps of moving objects."),
    flags.DEFINE_string(
        "times", None, "Times of true frames: a file, or a folder with SEQ/times.txt."
    ),
    flags.DEFINE_bool(
        "allow_missing_frames", False, "Leave out and count frames without prediction."
    ),
)

_SCALING = flags.DEFINE_enum(
    "scaling", None, protocols.SCALINGS, "Changes the protocol's scaling."
)
_ALIGNMENT = flags.DEFINE_enum(
    "alignment", None, alignment.KINDS, "Changes the protocol's alignment."
)


def evaluate(protocol: protocols.Protocol) -> page.Report:
    """Returns what the protocol finds for the run or the files that the flags name.

    Raises:
        ValueError: a flag is missing or does not fit; or see `evaluate_files`.
        OSError: a file cannot be read or written.
    """
    if _WORKDIR.value is None:
        files = _files(protocol, _required(_PREDICTIONS), _required(_TRUTH))
        return evaluate_files.report_files(protocol, files)
    from mdm_jax.run import evaluate_run

    if _PREDICTIONS.value is not None:
        raise ValueError("--workdir or --predictions: only one can be evaluated")
    run = evaluate_run.open_run(
        _WORKDIR.value,
        config=_CONFIG.value,
        step=_STEP.value,
        split=_SPLIT.value,
        max_frames=_MAX_FRAMES.value,
    )
    if isinstance(protocol, protocols.OdometryProtocol):
        return _evaluate_trajectories(run, protocol)
    if not (_IMAGES.value or _TRUTH.value):
        return evaluate_run.report_drives(run, protocol)
    return evaluate_files.report_files(
        protocol,
        _files(protocol, None, _required(_TRUTH)),
        predict=lambda images: evaluate_run.depth_of_images(run, images, protocol),
    )


def _evaluate_trajectories(
    run: Run, protocol: protocols.OdometryProtocol
) -> page.Report:
    from mdm_jax.run import evaluate_run

    with tempfile.TemporaryDirectory() as folder:
        predicted, truth = evaluate_run.write_trajectories(
            run,
            pathlib.Path(folder),
            images=_IMAGES.value,
            intrinsics=_INTRINSICS.value,
            truth=_TRUTH.value,
        )
        files = _files(protocol, predicted, truth)
        report = evaluate_files.report_files(protocol, files)
        if _OUTPUT.value is not None:
            saved = pathlib.Path(_OUTPUT.value, "trajectories")
            trajectory_files.save(predicted, saved, truth=truth)
    return report


def _files(protocol: protocols.Protocol, predictions: Any, truth: Any) -> Any:
    """Returns the files that the flags name, of the kind that the protocol measures."""
    options: dict[str, Any] = {
        **{flag.name: flag.value for flag in _OPTIONS},
        "predictions": predictions,
        "ground_truth": truth,
        "images": _IMAGES.value,
        "ground_truth_size": _integers(_SIZE, 2),
        "moving_labels": _integers(_MOVING),
    }
    is_depth = isinstance(protocol, protocols.DepthProtocol)
    kind = evaluate_files.DepthFiles if is_depth else evaluate_files.TrajectoryFiles
    return kind(**{f.name: options[f.name] for f in dataclasses.fields(kind)})


def _required(flag: flags.FlagHolder) -> str:
    if flag.value is None:
        help_text = flag._flagvalues[flag.name].help
        raise ValueError(f"--{flag.name} is missing: {help_text}")
    return flag.value


def _integers(flag: flags.FlagHolder, count: int | None = None) -> Any:
    if flag.value is None:
        return None
    words = [part for value in flag.value for part in value.split("x")]
    if not all(map(str.isdigit, words)) or len(words) != (count or len(words)):
        raise ValueError(
            f"--{flag.name} expects {count or 'some'} integers separated by commas, got"
            f" {','.join(words)!r}"
        )
    return tuple(map(int, words))


def _changed(protocol: protocols.Protocol) -> protocols.Protocol:
    """Returns the protocol with the changes of the flags."""
    if isinstance(protocol, protocols.DepthProtocol):
        field, value = "scaling", _SCALING.value
    else:
        field, value = "alignment", _ALIGNMENT.value
    return dataclasses.replace(protocol, **{field: value}) if value else protocol


def _print_protocols():
    for title, table in protocols.tables().items():
        print(f"\n{reporting.format_table(title, table)}")
    print("\nSources")
    for name, protocol in protocols.PROTOCOLS.items():
        print(f"  {name}: {protocol.source}")


def main(argv: list[str]):
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: options start with --")
    logging.set_verbosity(logging.INFO)
    startup.quiet_libraries()
    startup.configure_jax(1, "")
    if _PROTOCOL.value == "list":
        _print_protocols()
        return
    try:
        protocol = _changed(protocols.get(_required(_PROTOCOL)))
        report = evaluate(protocol)
        for title, table in report.tables.items():
            text = reporting.format_table(f"{protocol.name}: {title.lower()}", table)
            print(f"\n{text}", flush=True)
        for warning in report.warnings:
            logging.warning("%s", warning)
        if _OUTPUT.value is not None:
            command = " ".join(sys.argv[1:])
            path = page.write(_OUTPUT.value, report, command=command)
            logging.info("Report: %s", path)
    except (ValueError, OSError) as error:
        if logging.level_debug():
            raise
        sys.exit(f"error: {error}")


def run():
    """Runs the command with the flags of the command line."""
    flags.mark_flags_as_required(["protocol"])
    command_line.run(main, __name__)


if __name__ == "__main__":
    run()
