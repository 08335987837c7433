"""Evaluation during training: metrics on the drives, tables, and a panel of images."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

import jax
import ml_collections
import numpy as np
from absl import logging
from jax.sharding import Mesh

from mdm_jax import methods
from mdm_jax.evaluation import baselines, drives
from mdm_jax.evaluation.measures import depth_metrics as depth_lib
from mdm_jax.evaluation.pairs import (
    FramePair,
    PredictedPairs,
    frame_pairs,
    knows_object_motion,
)
from mdm_jax.evaluation.report import tables
from mdm_jax.files import atomic
from mdm_jax.methods import inference
from mdm_jax.methods.base import Method
from mdm_jax.recording.arrays import Recording
from mdm_jax.training import data, reporting, sharding
from mdm_jax.training.state import TrainState
from mdm_jax.visualize import panel

PANEL_ROWS = 5


class Evaluator:
    """Evaluates variables on the training drives and the held-out drives.

    Predicts with `methods.for_inference`, as a loaded run does.

    Attributes:
        images: `panel.png` of the newest evaluation, uint8 `[h w 3]`, by name.
    """

    def __init__(
        self,
        method: Method,
        recordings: data.Data,
        config: ml_collections.ConfigDict,
        mesh: Mesh,
        workdir: str,
    ):
        self.images: dict[str, np.ndarray] = {}
        self._data = recordings
        self._config = config
        self._workdir = pathlib.Path(workdir)
        self._learned_intrinsics = method.learns_intrinsics
        # Every process measures, and so needs the maps of all processes.
        self._predict = inference.make_predict(
            methods.for_inference(method, config), layout=sharding.replicated(mesh)
        )
        self._layout = sharding.split_or_copied(mesh, config.evaluation.batch_size)
        self._baselines = baselines.image_independent_maps(
            recordings.train, max_depth=config.evaluation.max_depth
        )

    def __call__(self, state: TrainState, *, seconds: float) -> dict[str, float]:
        """Returns the metrics by key; writes `metrics.json` and `panel.png`.

        Args:
            state: its variables predict, at its step.
            seconds: of training so far, reported as `train/seconds`.
        """
        sets = {"train_drive": self._data.train}
        if self._data.held_out:
            sets[f"{self._data.held_out_name}_drive"] = self._data.held_out
        result = {"train/seconds": seconds}
        shown: list[FramePair] = []
        for drive, recordings in sets.items():
            metrics, shown = self._measure(
                state, recordings, held_out=recordings is not self._data.train
            )
            if self._learned_intrinsics:
                _log_intrinsics(drive, metrics)
            result |= {f"{drive}/{key}": value for key, value in metrics.items()}
        if jax.process_index() == 0:
            rows = [panel_row(pair, self._config.evaluation) for pair in shown]
            path = self._workdir / "panel.png"
            labels = [pair.name for pair in shown]
            self.images = {"panel": panel.save_panel(path, rows, labels=labels)}
            atomic.write_json(self._workdir / "metrics.json", result, sort_keys=True)
        return result

    def _measure(
        self, state: TrainState, recordings: list[Recording], *, held_out: bool
    ) -> tuple[dict[str, float], list[FramePair]]:
        """Returns the metrics on recordings, and the pairs for the panel."""
        evaluation = self._config.evaluation
        stride = self._config.dataset.frame_stride
        pairs = PredictedPairs(
            lambda arrays: self._predict(
                state.variables,
                jax.device_put(arrays, device=self._layout),
                state.step,
            ),
            recordings,
            frame_pairs(
                recordings, frame_stride=stride, max_frames=evaluation.max_frames
            ),
            batch_size=evaluation.batch_size,
            frame_stride=stride,
            held_out=held_out,
        )
        measures = drives.measures(
            recordings,
            evaluation,
            baselines=self._baselines,
            learned_intrinsics=self._learned_intrinsics,
        )
        num_shown = min(PANEL_ROWS, len(pairs))
        positions = np.linspace(0, len(pairs) - 1, num_shown + 2)[1:-1]
        chosen, shown = {round(i) for i in positions}, []
        for number, pair in enumerate(pairs):
            for measure in measures:
                measure.add(pair)
            if number in chosen:
                shown.append(pair)
        return drives.results(measures), shown


def panel_row(pair: FramePair, evaluation: ml_collections.ConfigDict) -> panel.Row:
    """Returns the images of a predicted pair: truth beside prediction."""
    frame = pair.recording.frames[pair.index]
    prediction = pair.prediction
    true_depth = true_motion = None
    scale = 1.0
    if pair.recording.depth is not None:
        true_depth = pair.true_depth()
        valid = pair.valid_depth(evaluation)
        if valid.any():
            scale = depth_lib.median_scale(true_depth, prediction["depth"], valid)
    if knows_object_motion(pair.recording):
        true_motion = pair.true_motion.residual_translation
    error = np.abs(prediction["warped"] - frame / 255.0).mean(axis=-1)
    return {
        "frame": (frame, "image"),
        "true depth": (true_depth, "depth"),
        "predicted depth": (prediction["depth"] * scale, "depth"),
        "true object motion": (true_motion, "motion"),
        "predicted object motion": (prediction["object_motion"] * scale, "motion"),
        "next frame, warped": (prediction["warped"], "image"),
        "colour error": (np.where(prediction["valid"], error, 0.0), "error"),
    }


def print_tables(
    metrics: Mapping[str, float],
    reporter: reporting.Reporter | reporting.SilentReporter,
):
    """Prints a table for each set of drives that was measured."""
    for drive in dict.fromkeys(k.split("/")[0] for k in metrics if "_drive/" in k):
        prefix = f"{drive}/"
        of_drive = {
            key.removeprefix(prefix): value
            for key, value in metrics.items()
            if key.startswith(prefix)
        }
        reporter.table(drive.replace("_", " "), tables.drives_table(of_drive))


def _log_intrinsics(drive: str, metrics: Mapping[str, float]):
    logging.info(
        "%s: learned intrinsics fx %.1f, fy %.1f, cx %.1f, cy %.1f pixels",
        drive.replace("_", " "),
        *(metrics[f"intrinsics/{name}"] for name in ("fx", "fy", "cx", "cy")),
    )
