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
import typing
from typing import Any

from absl import flags, logging
from ml_collections import config_flags

from mdm_jax import command_line
from mdm_jax.evaluation import (
    alignment,
    evaluate_files,
    protocols,
    trajectory_files,
)
from mdm_jax.evaluation.report import page
from mdm_jax.training import reporting, startup

if typing.TYPE_CHECKING:
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


_KINDS = (evaluate_files.DepthFiles, evaluate_files.TrajectoryFiles)


def _define_options() -> dict[str, Any]:
    """Returns a flag for each field of `_KINDS`, by name."""
    options: dict[str, Any] = {}
    for kind in _KINDS:
        hints = typing.get_type_hints(kind, include_extras=True)
        for field in dataclasses.fields(kind):
            if field.name not in options:
                help_and_choices = hints[field.name].__metadata__
                options[field.name] = _define(field, *help_and_choices)
    return options


def _define(field: dataclasses.Field, text: str, choices: Any = None) -> Any:
    default: Any = field.default
    if choices:
        return flags.DEFINE_enum(field.name, default, choices, text)
    if default == ():
        return flags.DEFINE_list(field.name, [], text)
    kinds: Any = {bool: flags.DEFINE_bool, float: flags.DEFINE_float}
    return kinds.get(type(default), flags.DEFINE_string)(field.name, default, text)


_OPTIONS = _define_options()

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
        return evaluate_files.report_files(protocol, _files(protocol))
    from mdm_jax.run import evaluate_run

    if _OPTIONS["predictions"].value is not None:
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
    if not (_OPTIONS["images"].value or _OPTIONS["ground_truth"].value):
        return evaluate_run.report_drives(run, protocol)
    return evaluate_files.report_files(
        protocol,
        _files(protocol),
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
            images=_OPTIONS["images"].value,
            intrinsics=_INTRINSICS.value,
            truth=_OPTIONS["ground_truth"].value,
        )
        files = _files(protocol, predictions=predicted, ground_truth=truth)
        report = evaluate_files.report_files(protocol, files)
        if _OUTPUT.value is not None:
            saved = pathlib.Path(_OUTPUT.value, "trajectories")
            trajectory_files.save(predicted, saved, truth=truth)
    return report


def _files(protocol: protocols.Protocol, **changed: Any) -> Any:
    """Returns the files that the flags name, of the kind that the protocol measures."""
    kind = _KINDS[0 if isinstance(protocol, protocols.DepthProtocol) else 1]
    values: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        flag = _OPTIONS[field.name]
        values[field.name] = _integers(flag) if field.default == () else flag.value
    return kind(**values | changed)


def _integers(flag: flags.FlagHolder) -> tuple[int, ...]:
    words = [part for value in flag.value for part in value.split("x")]
    if not all(map(str.isdigit, words)):
        got = ",".join(flag.value)
        raise ValueError(
            f"--{flag.name} expects integers, such as 375x1242, got {got!r}"
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
    command_line.check_no_arguments(argv)
    command_line.log_progress()
    startup.quiet_libraries()
    startup.configure_jax(1, "")
    if _PROTOCOL.value == "list":
        _print_protocols()
        return
    with command_line.one_line_errors():
        protocol = _changed(protocols.get(_PROTOCOL.value or ""))
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


def run():
    """Runs the command with the flags of the command line."""
    flags.mark_flags_as_required(["protocol"])
    command_line.run(main, __name__)


if __name__ == "__main__":
    run()
