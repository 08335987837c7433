"""Errors of whole objects, each with one vote per pair of frames whatever its size.

An object's motion, true or predicted, is the mean residual translation of its pixels.
The prediction is in metres after scaling by the ratio of the medians of depth.
"""

from __future__ import annotations

import ml_collections
import numpy as np

from mdm_jax.evaluation.measures import depth_metrics as depth_lib
from mdm_jax.evaluation.measures import motion_metrics, pair_measures
from mdm_jax.evaluation.pairs import FramePair, knows_object_motion

# An object drives at the camera's speed if its points move, relative to the camera, by
# less than this share of the camera's step.
_FOLLOWING = 0.1


class Objects(pair_measures.Measure):
    """Errors of the objects that are large enough and move far enough.

    `objects/direction_deg` is the mean angle between true and predicted translation, 90
    where no motion is predicted, and `objects/direction_median_deg` the median, which
    is robust to a few wrong signs. `objects/direction_seen_twice_deg` is the mean over
    objects that are large enough in the source frame too: the two frames do not show
    the motion of the others. `objects/magnitude_error` is the mean of | |p| - |t| | /
    |t|. `objects/abs_rel` is the mean of the objects' own Abs Rel; in `moving/abs_rel`,
    a few near objects have most of the pixels. `objects/following_hole_rate` is the
    share of pixels placed more than three times too far away, of objects at the
    camera's speed: without object motion, these are infinitely far. `objects/num`,
    `objects/num_seen_twice` and `objects/num_following` count the objects of all pairs.
    """

    def __init__(
        self,
        evaluation: ml_collections.ConfigDict,
        *,
        min_pixels: int = 60,
        min_translation: float = 0.3,
    ):
        """Initializes the measure.

        Args:
            evaluation: `config.evaluation`, for the depth range.
            min_pixels: smaller objects are left out.
            min_translation: objects that move less between the frames, metres, are left
                out.
        """
        self._evaluation = evaluation
        self._min_pixels = min_pixels
        self._min_translation = min_translation
        self._true: list[np.ndarray] = []
        self._predicted: list[np.ndarray] = []
        self._depth_errors: list[float] = []
        self._seen_twice: list[bool] = []
        self._num_following = 0
        self._holes = np.zeros(2)

    def add(self, pair: FramePair):
        """Adds the objects of a pair; if their motion is unknown, there are none."""
        if not knows_object_motion(pair.recording):
            return
        valid = pair.valid_depth(self._evaluation)
        if not valid.any():
            return
        truth = pair.true_depth()
        scale = depth_lib.median_scale(truth, pair.prediction["depth"], valid)
        depth = scale * pair.prediction["depth"]
        labels, labels_source = pair.labels()
        labels = np.where(valid & pair.true_motion.known, labels, 0)
        ids, sizes = np.unique(labels[labels > 0], return_counts=True)
        for label in ids[sizes >= self._min_pixels]:
            pixels = labels == label
            motion = pair.true_motion.residual_translation[pixels].mean(axis=0)
            if np.linalg.norm(motion) < self._min_translation:
                continue
            predicted = scale * pair.prediction["object_motion"][pixels].mean(axis=0)
            self._true.append(motion)
            self._predicted.append(predicted)
            num_source = np.count_nonzero(labels_source == label)
            self._seen_twice.append(bool(num_source >= self._min_pixels))
            errors = depth_lib.depth_metrics(
                truth,
                depth,
                pixels,
                min_depth=self._evaluation.min_depth,
                max_depth=self._evaluation.max_depth,
            )
            self._depth_errors.append(errors["abs_rel"])
            step = pair.true_camera_motion()[:3, 3]
            if np.linalg.norm(motion + step) < _FOLLOWING * np.linalg.norm(step):
                far = depth[pixels] > 3 * truth[pixels]
                self._holes += (far.sum(), far.size)
                self._num_following += 1

    def result(self) -> dict[str, float]:
        """Returns the metrics; those without any object are left out."""
        result = {
            "objects/num": float(len(self._true)),
            "objects/num_seen_twice": float(sum(self._seen_twice)),
            "objects/num_following": float(self._num_following),
        }
        if self._true:
            angles, magnitudes = motion_metrics.object_translation_errors(
                np.array(self._true), np.array(self._predicted)
            )
            result |= {
                "objects/abs_rel": float(np.mean(self._depth_errors)),
                "objects/direction_deg": float(np.mean(angles)),
                "objects/direction_median_deg": float(np.median(angles)),
                "objects/magnitude_error": float(np.mean(magnitudes)),
            }
            if any(self._seen_twice):
                mean = float(np.mean(angles[self._seen_twice]))
                result["objects/direction_seen_twice_deg"] = mean
        if self._num_following:
            rate = float(self._holes[0] / self._holes[1])
            result["objects/following_hole_rate"] = rate
        return result
