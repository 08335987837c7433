"""A trained method on whole drives: every metric that the known truth allows.

Depth is measured by a protocol, at the network's size. Egomotion, object motion, flow
and learned intrinsics are measured on the same predictions as in training.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ml_collections
import numpy as np

from mdm_jax.evaluation import depth, pairs
from mdm_jax.evaluation.map_files import Maps
from mdm_jax.evaluation.measures import object_measures, pair_measures, scene_motion
from mdm_jax.evaluation.pairs import FramePair, PredictedPairs
from mdm_jax.evaluation.protocols import DepthProtocol
from mdm_jax.recording.arrays import Recording


def measures(
    recordings: Sequence[Recording],
    evaluation: ml_collections.ConfigDict,
    *,
    baselines: Mapping[str, np.ndarray] | None = None,
    learned_intrinsics: bool = False,
    detailed: bool = False,
) -> list[pair_measures.Measure]:
    """Returns the measures for which some recording holds the truth.

    Args:
        recordings: to be measured.
        evaluation: `config.evaluation`.
        baselines: image-independent depth maps by name, measured as well.
        learned_intrinsics: whether the method learns intrinsics.
        detailed: also measure flow, and motion segmentation at many thresholds.
    """
    chosen: list[pair_measures.Measure] = [pair_measures.Reconstruction()]
    if any(r.depth is not None or r.world_from_camera is not None for r in recordings):
        chosen.append(pair_measures.Depth(evaluation, baselines))
        chosen.append(pair_measures.Egomotion())
    if any(map(pairs.knows_object_motion, recordings)):
        chosen.append(object_measures.Objects(evaluation))
        chosen.append(scene_motion.Segmentation(evaluation, detailed=detailed))
        if detailed:
            chosen.append(scene_motion.Flow(evaluation))
    if learned_intrinsics:
        chosen.append(pair_measures.LearnedIntrinsics())
    return chosen


def results(measures: Sequence[pair_measures.Measure]) -> dict[str, float]:
    """Returns the metrics of all measures by key."""
    return {k: v for measure in measures for k, v in measure.result().items()}


@dataclasses.dataclass(frozen=True, eq=False)
class DriveMetrics:
    """The metrics of drives.

    Attributes:
        metrics: by key.
        depth: the evaluation of depth, with a row for each pair of frames.
        by_threshold: scores of motion segmentation; empty if no motion is known.
    """

    metrics: dict[str, float]
    depth: depth.DepthEvaluation
    by_threshold: list[dict[str, float]]


def measure(
    protocol: DepthProtocol,
    predicted: PredictedPairs,
    evaluation: ml_collections.ConfigDict,
    **options: Any,
) -> DriveMetrics:
    """Returns all metrics of predicted pairs.

    Args:
        protocol: for depth.
        predicted: pairs of recordings with depth.
        evaluation: `config.evaluation`, for the other metrics.
        **options: `baselines` and `learned_intrinsics` of `measures`.

    Raises:
        ValueError: see `depth_comparison.compared`.
    """
    chosen = measures(predicted.recordings, evaluation, detailed=True, **options)
    inputs = depth_inputs(predicted)
    by_protocol = depth.begin(protocol, inputs)
    for index in depth.progress(len(predicted)):
        by_protocol.add(predicted.names[index], inputs.compared(protocol, index))
        for item in chosen:
            item.add(predicted[index])
    # The protocol decides how depth is measured.
    metrics = results(chosen) | by_protocol.result()
    found = [item for item in chosen if isinstance(item, scene_motion.Segmentation)]
    by_threshold = found[0].by_threshold() if found else []
    return DriveMetrics(metrics, by_protocol, by_threshold)


def depth_inputs(predicted: PredictedPairs) -> depth.Inputs:
    """Returns true and predicted depth, and what moves if all recordings know it."""
    labels = None
    if all(map(pairs.knows_object_motion, predicted.recordings)):
        labels = maps_of(predicted, lambda pair: pair.moving.astype(np.uint8))
    return depth.Inputs(
        maps_of(predicted, FramePair.true_depth),
        maps_of(predicted, lambda pair: pair.prediction["depth"]),
        labels=labels,
    )


def maps_of(predicted: PredictedPairs, read: Callable[[FramePair], np.ndarray]) -> Maps:
    """Returns a map of each pair, read when it is needed."""
    names = predicted.names
    return Maps(names, names, lambda index: read(predicted[index]), named=True)
