"""What a run shows of itself: metrics on its drives, a table, and a panel of images."""

from __future__ import annotations

import functools
import math
import pathlib
from collections.abc import Mapping

import jax
import ml_collections
import numpy as np
from absl import logging
from jax.sharding import Mesh

from mdm_jax.evaluation import baselines as baselines_lib
from mdm_jax.evaluation import depth_metrics as depth_lib
from mdm_jax.evaluation import evaluate
from mdm_jax.evaluation.measures import object_measures, pair_measures
from mdm_jax.files import atomic
from mdm_jax.methods import inference
from mdm_jax.methods.base import Method
from mdm_jax.recording import arrays as recording_lib
from mdm_jax.recording.arrays import Recording
from mdm_jax.train import data, reporting, sharding
from mdm_jax.train.state import TrainState
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
        self._learned_intrinsics = method.learns_intrinsics
        # Every process measures, and so needs the maps of all of them.
        self._predict = inference.make_predict(method, layout=sharding.replicated(mesh))
        self._to_devices = functools.partial(
            jax.device_put,
            device=sharding.split_or_copied(mesh, config.evaluation.batch_size),
        )
        self._baselines = baselines_lib.image_independent_maps(
            recordings.train, max_depth=config.evaluation.max_depth
        )

    def __call__(self, state: TrainState, *, seconds: float) -> dict[str, float]:
        """Returns the flat metrics; writes `metrics.json` and `panel.png`.

        Args:
            state: whose variables predict, as far as its step has come.
            seconds: of training so far, reported as `train/seconds`.
        """
        sets = {"train_drive": self._data.train}
        if self._data.held_out:
            sets[f"{self._data.held_out_name}_drive"] = self._data.held_out
        result = {"train/seconds": seconds}
        shown: list[evaluate.FramePair] = []
        for drive, recordings in sets.items():
            metrics, shown = self._measure(
                state, recordings, held_out=recordings is not self._data.train
            )
            if self._learned_intrinsics:
                _log_intrinsics(drive, metrics)
            result |= {f"{drive}/{key}": value for key, value in metrics.items()}
        if jax.process_index() == 0:
            rows = [panel_row(pair, self._config.evaluation) for pair in shown]
            labels = [f"{pair.recording.name}, frame {pair.index}" for pair in shown]
            path = self._workdir / "panel.png"
            self.images = {"panel": panel.save_panel(path, rows, labels=labels)}
            atomic.write_json(self._workdir / "metrics.json", result, sort_keys=True)
        return result

    def _measure(
        self, state: TrainState, recordings: list[Recording], *, held_out: bool
    ) -> tuple[dict[str, float], list[evaluate.FramePair]]:
        """Returns the metrics on recordings, and a few pairs to be looked at."""
        config, stride = self._config.evaluation, self._config.dataset.frame_stride
        chosen = evaluate.frame_pairs(
            recordings, frame_stride=stride, max_frames=config.max_frames
        )
        pairs = evaluate.predict_pairs(
            lambda arrays: self._predict(state.variables, arrays, state.step),
            recordings,
            chosen,
            batch_size=config.batch_size,
            frame_stride=stride,
            held_out=held_out,
            to_devices=self._to_devices,
        )
        folded: list[pair_measures.Measure] = [pair_measures.Reconstruction()]
        if any(pair_measures.knows_truth(one) for one in recordings):
            folded.append(pair_measures.Truth(config, self._baselines))
        if any(pair_measures.knows_object_motion(one) for one in recordings):
            folded.append(object_measures.Objects(config))
        if self._learned_intrinsics:
            folded.append(pair_measures.LearnedIntrinsics())
        shown, kept = _spread(len(chosen)), []
        for number, pair in enumerate(pairs):
            for measure in folded:
                measure.add(pair)
            if number in shown:
                kept.append(pair)
        metrics = {k: v for measure in folded for k, v in measure.result().items()}
        return metrics, kept


def _spread(num_pairs: int) -> set[int]:
    """Returns which pairs are shown: evenly spread, whatever is predicted for them."""
    chosen = np.linspace(0, num_pairs - 1, min(PANEL_ROWS, num_pairs) + 2)[1:-1]
    return {round(i) for i in chosen}


def panel_row(
    pair: evaluate.FramePair, evaluation: ml_collections.ConfigDict
) -> panel.Row:
    """Returns the pictures of one predicted pair: truth beside prediction."""
    frame = pair.recording.frames[pair.index]
    prediction = pair.prediction
    depth, residual = prediction["depth"], prediction["object_motion"]
    true_depth = true_motion = None
    scale = 1.0
    if pair.recording.depth is not None:
        true_depth = pair.true_depth()
        valid = depth_lib.valid_pixels(
            true_depth,
            min_depth=evaluation.min_depth,
            max_depth=evaluation.max_depth,
        )
        if valid.any():
            scale = depth_lib.median_scale(true_depth, depth, valid)
    if pair_measures.knows_object_motion(pair.recording):
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
        row(
            "Abs Rel, instances",
            "instances/abs_rel",
            "baseline/instances_abs_rel",
        ),
        row(
            "Abs Rel, background",
            "background/abs_rel",
            "baseline/background_abs_rel",
        ),
        row("moving: share > 3x too far", "moving/hole_rate", None),
        row(
            "egomotion translation error",
            "egomotion/translation_error",
            "egomotion/constant_velocity_error",
        ),
        row("egomotion direction [deg]", "egomotion/direction_deg", None),
        row("egomotion rotation [deg]", "egomotion/rotation_deg", None),
        row("motion IoU", "motion/iou", "motion/iou_all_moving"),
        row("Abs Rel, mean of moving objects", "objects/abs_rel", None),
        row("objects, direction [deg]", "objects/direction_deg", None),
        row("objects, direction, median [deg]", "objects/direction_median_deg", None),
        row(
            "objects in both frames, direction",
            "objects/direction_seen_twice_deg",
            None,
        ),
        row("at camera speed: share > 3x too far", "objects/following_hole_rate", None),
        row("learned fx [pixels]", "intrinsics/fx", None),
        row("learned fy [pixels]", "intrinsics/fy", None),
        row("learned cx [pixels]", "intrinsics/cx", None),
        row("learned cy [pixels]", "intrinsics/cy", None),
        row("focal length, relative error", "intrinsics/focal_relative_error", None),
        row(
            "colour error, warped",
            "reconstruction/colour_error",
            "reconstruction/unwarped_colour_error",
        ),
    ]
    # Guesses that ignore the image; for colours, the source frame as it is.
    header = ("metric", "reached", "without")
    return [header, *(one for one in rows if one[1])]


def print_tables(
    metrics: dict[str, float], reporter: reporting.Reporter | reporting.SilentReporter
):
    """Prints a table for each drive that was measured."""
    drives = dict.fromkeys(key.split("/")[0] for key in metrics if "_drive/" in key)
    for drive in drives:
        reporter.table(drive.replace("_", " "), summary_table(metrics, drive))


def _log_intrinsics(drive: str, metrics: Mapping[str, float]):
    logging.info(
        "%s: learned intrinsics fx %.1f, fy %.1f, cx %.1f, cy %.1f pixels",
        drive.replace("_", " "),
        *(metrics[f"intrinsics/{name}"] for name in ("fx", "fy", "cx", "cy")),
    )


def _format(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.3f}"
