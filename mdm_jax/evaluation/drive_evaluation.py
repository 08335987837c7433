"""A trained run on drives: all that is known to be true of them, in one pass.

Depth is measured as the protocol says, pair by pair of frames, at the network's size.
Where a drive tells more, egomotion, object motion, flow and learned intrinsics are
measured of the same predictions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import jax
import ml_collections
import numpy as np

from mdm_jax.evaluation import depth_evaluation, evaluate
from mdm_jax.evaluation.evaluate import FramePair
from mdm_jax.evaluation.measures import object_measures, pair_measures, scene_motion
from mdm_jax.evaluation.predictions import Maps
from mdm_jax.evaluation.protocols import DepthProtocol
from mdm_jax.recording import arrays as recording_lib
from mdm_jax.recording.arrays import Recording

Predict = Callable[[Mapping[str, np.ndarray]], Mapping[str, jax.Array]]


class PredictedPairs:
    """Pairs of frames, predicted a batch at a time when asked for.

    Read in order, none is predicted twice; only the newest batch is kept.

    Attributes:
        names: of the pairs: the recording and the first frame.
    """

    def __init__(
        self,
        predict: Predict,
        recordings: Sequence[Recording],
        pairs: Sequence[tuple[int, int]],
        *,
        batch_size: int,
        frame_stride: int,
        held_out: bool,
    ):
        """Begins; nothing is predicted yet.

        Args:
            predict: `inference.make_predict` with its variables and step.
            recordings: of one size.
            pairs: of `evaluate.frame_pairs`.
            batch_size: pairs predicted at a time.
            frame_stride: frames from the first to the second of a pair.
            held_out: the recordings are not those trained on.
        """
        self.names = [f"{recordings[r].name}, frame {i}" for r, i in pairs]
        self._pairs = list(pairs)
        self._recordings = [recordings[r] for r in sorted({r for r, _ in pairs})]
        self._batch_size = batch_size
        self._predict_pairs = lambda chosen: evaluate.predict_pairs(
            predict,
            recordings,
            chosen,
            batch_size=batch_size,
            frame_stride=frame_stride,
            held_out=held_out,
        )
        self._newest: dict[int, FramePair] = {}

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> FramePair:
        if not 0 <= index < len(self):
            raise IndexError(index)
        if index not in self._newest:
            start = index - index % self._batch_size
            chosen = self._pairs[start : start + self._batch_size]
            batch = self._predict_pairs(chosen)
            self._newest = dict(enumerate(batch, start))
        return self._newest[index]

    def inputs(self) -> depth_evaluation.Inputs:
        """Returns true and predicted depth, and what moves where that is known."""

        return depth_evaluation.Inputs(
            self._maps(FramePair.true_depth),
            self._maps(lambda pair: pair.prediction["depth"]),
            labels=self._maps(_moving) if self.know_motion() else None,
        )

    def images(self) -> Maps:
        """Returns the first frames, uint8 `[h w 3]`."""
        return self._maps(lambda pair: pair.recording.frames[pair.index])

    def _maps(self, read: Callable[[FramePair], np.ndarray]) -> Maps:
        return Maps(self.names, self.names, lambda i: read(self[i]), named=True)

    def know_motion(self) -> bool:
        """Returns whether it is known of all of them what moves by itself."""
        return all(pair_measures.knows_object_motion(one) for one in self._recordings)


@dataclasses.dataclass(frozen=True, eq=False)
class Result:
    """What was measured.

    Attributes:
        metrics: flat.
        depth: the evaluation of depth, with a row for each pair.
        by_threshold: scores of motion segmentation; empty where no motion is known.
    """

    metrics: dict[str, float]
    depth: depth_evaluation.DepthEvaluation
    by_threshold: list[dict[str, float]]


def measure(
    protocol: DepthProtocol,
    pairs: PredictedPairs,
    evaluation: ml_collections.ConfigDict,
    *,
    baselines: Mapping[str, np.ndarray] | None = None,
    learned_intrinsics: bool = False,
) -> Result:
    """Returns all metrics of predicted pairs.

    What is measured beside depth is as in training, and so has its names.

    Args:
        protocol: of depth.
        pairs: all of recordings with depth.
        evaluation: `config.evaluation`: depth range and motion threshold of the rest.
        baselines: fixed depth maps by name, measured alike.
        learned_intrinsics: whether intrinsics are learned, and worth to be told.

    Raises:
        ValueError: see `depth_comparison.compared`.
    """
    truth = pair_measures.Truth(evaluation, baselines)
    folded: list[pair_measures.Measure] = [truth, pair_measures.Reconstruction()]
    segmentation = scene_motion.Segmentation(evaluation)
    if pairs.know_motion():
        objects = object_measures.Objects(evaluation)
        folded += [objects, segmentation, scene_motion.Flow(evaluation)]
    if learned_intrinsics:
        folded.append(pair_measures.LearnedIntrinsics())
    inputs = pairs.inputs()
    depth = depth_evaluation.begin(protocol, inputs)
    for index in depth_evaluation.progress(len(pairs)):
        depth.add(pairs.names[index], inputs.compared(protocol, index))
        for measure in folded:
            measure.add(pairs[index])
    metrics = {k: v for measure in folded for k, v in measure.result().items()}
    # Of depth, what the protocol says; the same where both measure the same.
    metrics |= depth.result()
    by_threshold = segmentation.by_threshold() if pairs.know_motion() else []
    return Result(metrics, depth, by_threshold)


def _moving(pair: FramePair) -> np.ndarray:
    """Returns uint8 `[h w]`, 1 where a point moves by itself."""
    moving = recording_lib.moving_mask(pair.recording, pair.index, pair.source_index)
    return moving.astype(np.uint8)
