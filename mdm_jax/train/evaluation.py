"""What a run shows of itself: metrics on its drives, a table, and a panel of images."""

from __future__ import annotations

import functools
import json
import math
import pathlib

import jax
import ml_collections
import numpy as np
from jax.sharding import Mesh

from mdm_jax.evaluation import baselines as baselines_lib
from mdm_jax.evaluation import depth_metrics as depth_lib
from mdm_jax.evaluation import evaluate
from mdm_jax.input_pipeline import recording as recording_lib
from mdm_jax.methods.base import Method, Variables
from mdm_jax.train import data, reporting, sharding
from mdm_jax.visualize import panel

PANEL_ROWS = 5


class Evaluator:
    """Evaluates variables on the training and the held-out drives.

    Attributes:
        images: `panel.png` as `[h w 3]` uint8 by name, of the newest evaluation.
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
        self._predict = evaluate.make_predict(method)
        # Evaluation batches are small and rare: every device works on all of them.
        self._to_devices = functools.partial(
            jax.device_put, device=sharding.replicated(mesh)
        )
        self._baselines = (
            baselines_lib.image_independent_maps(
                recordings.train, max_depth=config.evaluation.max_depth
            )
            if recordings.has_truth
            else None
        )

    def __call__(self, variables: Variables, *, seconds: float) -> dict[str, float]:
        """Returns the flat metrics; writes `metrics.json` and `panel.png`.

        Args:
            variables: of the method.
            seconds: of training so far, reported as `train/seconds`.
        """
        sets = {"train_drive": self._data.train}
        if self._data.held_out:
            sets[f"{self._data.held_out_name}_drive"] = self._data.held_out
        result = {"train/seconds": seconds}
        shown: list[evaluate.FramePair] = []
        for name, recordings in sets.items():
            pairs = list(
                evaluate.predict_pairs(
                    self._predict,
                    variables,
                    recordings,
                    batch_size=self._config.evaluation.batch_size,
                    max_frames=self._config.evaluation.max_frames,
                    to_devices=self._to_devices,
                )
            )
            metrics = evaluate.measure_reconstruction(pairs)
            if self._data.has_truth:
                metrics |= evaluate.measure(
                    pairs,
                    evaluation=self._config.evaluation,
                    baselines=self._baselines,
                )
            result |= {f"{name}/{key}": value for key, value in metrics.items()}
            shown = _spread(pairs)
        if jax.process_index() == 0:
            rows = [panel_row(pair, self._config.evaluation) for pair in shown]
            labels = [f"{pair.recording.name}, frame {pair.index}" for pair in shown]
            panel.save_panel(self._workdir / "panel.png", rows, labels=labels)
            self.images = {"panel": panel.render(rows, labels=labels)}
            _write_json(self._workdir / "metrics.json", result)
        return result


def _spread(pairs: list[evaluate.FramePair]) -> list[evaluate.FramePair]:
    """Returns a few evenly spread pairs: chosen before looking at any prediction."""
    chosen = np.linspace(0, len(pairs) - 1, min(PANEL_ROWS, len(pairs)) + 2)[1:-1]
    return [pairs[round(i)] for i in chosen]


def panel_row(
    pair: evaluate.FramePair, evaluation: ml_collections.ConfigDict
) -> panel.Row:
    """Returns the pictures of one predicted pair: truth beside prediction."""
    frame = pair.recording.frames[pair.index]
    prediction = pair.prediction
    depth, residual = prediction["depth"], prediction["residual"]
    true_depth = true_motion = None
    scale = 1.0
    if pair.recording.depth is not None:
        true_depth = pair.true_depth()
        valid = depth_lib.valid_pixels(
            true_depth,
            min_depth=evaluation.min_depth,
            max_depth=evaluation.max_depth,
        )
        scale = depth_lib.median_scale(true_depth, depth, valid)
        true_motion = recording_lib.rigid_motion(
            pair.recording, pair.index, pair.source_index
        ).residual_translation
    error = np.abs(prediction["warped"] - frame / 255.0).mean(axis=-1)
    return {
        "frame": (frame, "image"),
        "true depth": (true_depth, "depth"),
        "predicted depth": (depth * scale, "depth"),
        "true object motion": (true_motion, "motion"),
        "predicted object motion": (residual * scale, "motion"),
        "next frame, warped": (prediction["warped"], "image"),
        "colour error": (np.where(prediction["valid"], error, 0.0), "error"),
    }


def summary_table(metrics: dict[str, float], drive: str) -> list[tuple[str, str, str]]:
    """Returns what was reached on a drive beside the best guess without an image.

    The first row holds the names of the columns.
    """

    def row(label: str, key: str, baseline: str | None) -> tuple[str, str, str]:
        return (
            label,
            _format(metrics.get(f"{drive}/{key}")),
            _format(metrics.get(f"{drive}/{baseline}")),
        )

    rows = [
        row("depth Abs Rel", "depth/abs_rel", "baseline/abs_rel"),
        row("depth Sq Rel", "depth/sq_rel", None),
        row("depth RMSE [m]", "depth/rmse", None),
        row("depth RMSE log", "depth/rmse_log", None),
        row("depth delta < 1.25", "depth/a1", None),
        row("depth delta < 1.25^2", "depth/a2", None),
        row("depth delta < 1.25^3", "depth/a3", None),
        row("Abs Rel, moving", "moving/abs_rel", "baseline/moving_abs_rel"),
        row("Abs Rel, static", "static/abs_rel", "baseline/static_abs_rel"),
        row("moving: share > 3x too far", "moving/hole_rate", None),
        row(
            "egomotion translation error",
            "egomotion/translation_error",
            "egomotion/constant_velocity_error",
        ),
        row("egomotion direction [deg]", "egomotion/direction_deg", None),
        row("egomotion rotation [deg]", "egomotion/rotation_deg", None),
        row("motion IoU", "motion/iou", "motion/iou_all_moving"),
        row(
            "colour error, warped",
            "reconstruction/colour_error",
            "reconstruction/unwarped_colour_error",
        ),
    ]
    header = ("metric", "reached", "without the image")
    return [header, *(one for one in rows if one[1])]


def print_tables(
    metrics: dict[str, float], reporter: reporting.Reporter | reporting.SilentReporter
):
    """Prints a table for each drive that was measured."""
    drives = dict.fromkeys(key.split("/")[0] for key in metrics if "_drive/" in key)
    for drive in drives:
        reporter.table(drive.replace("_", " "), summary_table(metrics, drive))


def _format(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.3f}"


def _write_json(path: pathlib.Path, metrics: dict[str, float]):
    finite = {k: v if math.isfinite(v) else None for k, v in metrics.items()}
    temporary = path.with_suffix(".json.tmp")
    temporary.write_text(json.dumps(finite, indent=2, sort_keys=True) + "\n")
    temporary.replace(path)
