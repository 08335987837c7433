"""Reports of a run: JSON lines, log or progress bar, and TensorBoard.

`WORKDIR/metrics.jsonl` is always written and is the record of the run. A terminal shows a
progress bar; files and job schedulers get plain log lines. TensorBoard event files are
written if TensorFlow is installed, which `clu.metric_writers` needs and nothing else.
"""

from __future__ import annotations

import json
import math
import os
import pathlib
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Self, TextIO

import jax
import numpy as np
import tqdm
from absl import logging

from mdm_jax.files import atomic

METRICS_FILE = "metrics.jsonl"
# Number of metrics in a log line; all are in the metrics file.
_MAX_LOGGED_METRICS = 8
_LOSS_NAMES = ("loss/total", "loss")
# A metric of every evaluation, which the log lines of training do not have.
_EVALUATION = "train/seconds"


class Reporter:
    """Reports the progress of one run, in process 0.

    Only the conversion of values to Python numbers waits for the device; `advance` does
    not.
    """

    def __init__(
        self,
        workdir: str | os.PathLike[str],
        total_steps: int,
        *,
        resumed_step: int = 0,
        terminal: TextIO | None = None,
    ):
        """Opens the files of a run.

        Args:
            workdir: folder of the run; made if absent.
            total_steps: number of training steps of the run.
            resumed_step: number of steps in the checkpoint. Later lines of the metrics
                file, and its final evaluation, are removed, because they will be written
                again; at 0 the file starts empty.
            terminal: stream of the progress bar, if it is a terminal; standard error by
                default.
        """
        self._workdir = pathlib.Path(workdir)
        self._workdir.mkdir(parents=True, exist_ok=True)
        self._total_steps = total_steps
        self._step = resumed_step
        # Set after the first step, so that compilation does not enter the estimate.
        self._started: tuple[int, float] | None = None
        stream: TextIO = terminal or sys.stderr
        self._progress_bar: tqdm.tqdm | None = None
        if stream.isatty():
            self._progress_bar = tqdm.tqdm(
                total=total_steps,
                initial=resumed_step,
                unit="step",
                file=stream,
                dynamic_ncols=True,
            )
        path = self._workdir / METRICS_FILE
        _drop_lines_that_come_again(path, resumed_step, total_steps)
        self._metrics_file = path.open("a", encoding="utf-8")
        self._summary_writer = _summary_writer(self._workdir)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def advance(self, step: int) -> None:
        """Reports that `step` training steps have been dispatched."""
        self._step = step
        if self._started is None:
            self._started = (step, time.monotonic())
        if self._progress_bar is not None:
            self._progress_bar.update(step - self._progress_bar.n)

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Records metrics: flat names to numbers or arrays of one element.

        Values that are not finite become null in the metrics file.

        Raises:
            ValueError: a metric is called `step` or `time`.
        """
        values = {name: np.asarray(value).item() for name, value in scalars.items()}
        if reserved := {"step", "time"} & values.keys():
            raise ValueError(
                f"metrics cannot be called {sorted(reserved)}: {METRICS_FILE} uses"
                " these names itself; choose others"
            )
        line: dict[str, Any] = {"step": int(step), "time": round(time.time(), 3)}
        line |= {k: v if math.isfinite(v) else None for k, v in values.items()}
        # Flushed, so that a killed run leaves complete lines.
        self._metrics_file.write(json.dumps(line) + "\n")
        self._metrics_file.flush()
        if self._progress_bar is None:
            logging.info("%s", self._log_line(step, values))
        else:
            for name in _LOSS_NAMES:
                if name in values:
                    self._progress_bar.set_postfix_str(f"loss {values[name]:.4g}")
                    break
        if self._summary_writer is not None:
            self._summary_writer.write_scalars(step, values)

    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        """Adds images, uint8 `[h w 3]`, to TensorBoard, if it is used.

        Raises:
            ValueError: an image has another shape or type.
        """
        for name, image in images.items():
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                raise ValueError(
                    f"image {name!r}: expected uint8 [h w 3], got {image.dtype}"
                    f" {list(image.shape)}; colour it with mdm_jax.visualize first"
                )
        if self._summary_writer is not None:
            batches = {name: image[None] for name, image in images.items()}
            self._summary_writer.write_images(step, batches)

    def table(self, title: str, rows: Sequence[Sequence[Any]]) -> None:
        """Prints a table on standard output, above the progress bar if there is one.

        Args:
            title: line above it.
            rows: column names, then rows of cells; see `format_table`.
        """
        text = format_table(title, rows)
        if self._progress_bar is None:
            print(f"\n{text}\n", flush=True)
        else:
            self._progress_bar.write(f"\n{text}\n", file=sys.stdout)

    def close(self) -> None:
        """Flushes and closes everything; may be called more than once."""
        self._metrics_file.close()
        if self._progress_bar is not None:
            self._progress_bar.close()
        if self._summary_writer is not None:
            self._summary_writer.close()
            self._summary_writer = None

    def _log_line(self, step: int, values: Mapping[str, float]) -> str:
        """Returns e.g. `step 200 of 3000, 45.1 ms per step, 126 s left: loss 0.31`."""
        parts = [f"step {step} of {self._total_steps}"]
        if self._started is not None and self._step > self._started[0]:
            seconds = time.monotonic() - self._started[1]
            seconds_per_step = seconds / (self._step - self._started[0])
            seconds_left = seconds_per_step * (self._total_steps - self._step)
            parts.append(f"{1000 * seconds_per_step:.1f} ms per step")
            parts.append(f"{seconds_left:.0f} s left")
        shown = list(values.items())[:_MAX_LOGGED_METRICS]
        metrics = [f"{name} {value:.4g}" for name, value in shown]
        if hidden := len(values) - len(shown):
            metrics.append(f"and {hidden} more in {METRICS_FILE}")
        return f"{', '.join(parts)}: {', '.join(metrics)}"


class SilentReporter:
    """The methods of `Reporter`, doing nothing, for all processes except the first."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def advance(self, step: int) -> None:
        """Does nothing."""

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Does nothing, and does not wait for the values."""

    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        """Does nothing."""

    def table(self, title: str, rows: Sequence[Sequence[Any]]) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""


def make_reporter(
    workdir: str | os.PathLike[str], total_steps: int, *, resumed_step: int = 0
) -> Reporter | SilentReporter:
    """Returns a `Reporter` in process 0 and a silent one in the others."""
    if jax.process_index() == 0:
        return Reporter(workdir, total_steps, resumed_step=resumed_step)
    return SilentReporter()


def format_table(title: str, rows: Sequence[Sequence[Any]]) -> str:
    """Returns an aligned text table.

    Args:
        title: line above it.
        rows: of equal length, starting with the column names. A cell is text, a number,
            an array of one element, or None if empty. The first column is left-aligned
            and the others are right-aligned.
    """
    columns = []
    for index, cells in enumerate(zip(*rows, strict=True)):
        cells = [_cell(cell) for cell in cells]
        width = max(map(len, cells))
        columns.append([c.rjust(width) if index else c.ljust(width) for c in cells])
    lines = ["  ".join(cells).rstrip() for cells in zip(*columns, strict=True)]
    rule = "-" * max(map(len, [title, *lines]))
    return "\n".join([title, rule, *lines[:1], rule, *lines[1:]])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    number = np.asarray(value).item()
    if not isinstance(number, float):
        return str(number)
    return f"{number:.4f}" if number == 0 or abs(number) >= 1e-3 else f"{number:.1e}"


def _drop_lines_that_come_again(
    path: pathlib.Path, resumed_step: int, total_steps: int
) -> None:
    """Removes from a metrics file what a run resumed at a step will write again."""
    if not path.exists():
        return
    kept = []
    if resumed_step > 0:
        for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
            try:
                values = json.loads(line)
                is_final = values["step"] >= total_steps and _EVALUATION in values
                is_kept = values["step"] <= resumed_step and not is_final
            except (ValueError, KeyError, TypeError):
                is_kept = False  # cut short when the run was killed
            if is_kept:
                kept.append(line)
    atomic.write_text(path, "".join(kept))


def _summary_writer(workdir: pathlib.Path) -> Any | None:
    """Returns a `clu` writer of TensorBoard files, or None without TensorFlow."""
    try:
        import tensorflow as tf  # pyright: ignore[reportMissingModuleSource]
        from clu import metric_writers
    except ImportError as error:
        logging.info(
            'no TensorBoard files; they need pip install "mdm_jax[tensorboard]" (%s)',
            error,
        )
        return None
    # TensorFlow would take all memory of the accelerators, which are JAX's.
    for kind in ("GPU", "TPU"):
        tf.config.set_visible_devices([], kind)
    return metric_writers.SummaryWriter(str(workdir))
