"""Measures of single objects: which way each is found to move, and how far it is put.

One vote per object and pair of frames, whatever its size in the image. An object's true
motion is the mean residual translation of its pixels, and so is the predicted one, in
metres by the depth map's own median scale.
"""

from __future__ import annotations

import ml_collections
import numpy as np

from mdm_jax.evaluation import depth_metrics as depth_lib
from mdm_jax.evaluation.evaluate import FramePair
from mdm_jax.evaluation.measures import motion_metrics
from mdm_jax.recording import arrays as recording_lib

# An object at the camera's own speed: its points move, relative to the camera, by less
# than this share of the camera's step.
_FOLLOWING = 0.1


class Objects:
    """Objects that are seen well enough and move far enough to be judged.

    `objects/direction_deg` is the mean angle between true and predicted translation, 90
    where none is predicted, `objects/direction_median_deg` the median, which a few wrong
    signs do not move, and `objects/magnitude_error` the mean of | |p| - |t| | / |t|.
    `objects/direction_seen_twice_deg` is the mean angle of those objects that the source
    shows as well, in at least as many pixels as the smallest object judged: what has left
    the image by then has no motion that the two frames could tell.
    `objects/abs_rel` is the mean of the objects' own Abs Rel; in `moving/abs_rel` every
    pixel has a vote, and the few nearest ones have most of the pixels.
    `objects/following_hole_rate` is the share of the pixels of objects that drive at the
    camera's speed that are put more than three times too far away: without object motion,
    those are infinitely far. `objects/num` and `objects/num_following` count the objects
    of all pairs, `objects/num_seen_twice` those seen in both frames.
    """

    def __init__(
        self,
        evaluation: ml_collections.ConfigDict,
        *,
        min_pixels: int = 60,
        min_translation: float = 0.3,
    ):
        """Begins.

        Args:
            evaluation: `config.evaluation`: the depth range.
            min_pixels: size of the smallest object judged.
            min_translation: per pair of frames, metres, likewise.
        """
        self._range = {
            "min_depth": evaluation.min_depth,
            "max_depth": evaluation.max_depth,
        }
        self._min_pixels = min_pixels
        self._min_translation = min_translation
        self._angles: list[float] = []
        self._depth_errors: list[float] = []
        self._seen_twice: list[bool] = []
        self._magnitudes: list[float] = []
        self._num_following = 0
        self._holes = np.zeros(2)

    def add(self, pair: FramePair):
        """Takes a pair into account; recordings without labels have no objects."""
        recording = pair.recording
        if recording.instance_labels is None:
            return
        truth = pair.true_depth()
        valid = depth_lib.valid_pixels(truth, **self._range)
        if not valid.any():
            return
        scale = depth_lib.median_scale(truth, pair.prediction["depth"], valid)
        true = recording_lib.rigid_motion(recording, pair.index, pair.source_index)
        camera = recording_lib.camera_motion(recording, pair.index, pair.source_index)
        labels = np.where(valid & true.known, recording.instance_labels[pair.index], 0)
        ids, sizes = np.unique(labels[labels > 0], return_counts=True)
        in_source = recording.instance_labels[pair.source_index]
        for label in ids[sizes >= self._min_pixels]:
            pixels = labels == label
            motion = true.residual_translation[pixels].mean(axis=0)
            if np.linalg.norm(motion) < self._min_translation:
                continue
            predicted = scale * pair.prediction["object_motion"][pixels].mean(axis=0)
            self._add_object(motion, predicted)
            seen_twice = np.count_nonzero(in_source == label) >= self._min_pixels
            self._seen_twice.append(bool(seen_twice))
            depth = scale * pair.prediction["depth"]
            errors = depth_lib.depth_metrics(truth, depth, pixels, **self._range)
            self._depth_errors.append(errors["abs_rel"])
            step = np.linalg.norm(camera[:3, 3])
            relative = motion + camera[:3, 3]
            if np.linalg.norm(relative) < _FOLLOWING * step:
                far = depth[pixels] > 3 * truth[pixels]
                self._holes += (far.sum(), far.size)
                self._num_following += 1

    def _add_object(self, true: np.ndarray, predicted: np.ndarray):
        errors = motion_metrics.object_translation_errors(
            true[None, None], predicted[None, None], np.ones((1, 1), bool)
        )
        self._angles.append(errors["direction_deg"])
        self._magnitudes.append(errors["magnitude_error"])

    def result(self) -> dict[str, float]:
        """Returns the metrics; those of objects of which there are none are left out."""
        result = {
            "objects/num": float(len(self._angles)),
            "objects/num_seen_twice": float(sum(self._seen_twice)),
            "objects/num_following": float(self._num_following),
        }
        if self._angles:
            result["objects/abs_rel"] = float(np.mean(self._depth_errors))
            result["objects/direction_deg"] = float(np.mean(self._angles))
            result["objects/direction_median_deg"] = float(np.median(self._angles))
            result["objects/magnitude_error"] = float(np.mean(self._magnitudes))
        if any(self._seen_twice):
            result["objects/direction_seen_twice_deg"] = float(
                np.mean(np.array(self._angles)[self._seen_twice])
            )
        if self._num_following:
            result["objects/following_hole_rate"] = float(
                self._holes[0] / self._holes[1]
            )
        return result
