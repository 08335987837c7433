"""The maps that a trained method predicts, by name.

Training, evaluation, prediction and export read all predictions through `predict_maps`.
Evaluation during training and loaded runs predict with `methods.for_inference`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from mdm_jax.geometry import rotation as rotation_lib
from mdm_jax.geometry import warp
from mdm_jax.methods.base import Method, Variables
from mdm_jax.structs import Motion, Objects, batch_from_arrays

# A point is occluded where the source shows a surface that is nearer by this fraction.
OCCLUSION_TOLERANCE = 0.1

Maps = dict[str, jax.Array]
Predict = Callable[..., Maps]


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
    """A trained method, ready to predict.

    Attributes:
        config: settings it was trained with.
        method: its functions.
        variables: its weights, on the default device.
        step: training steps done.
    """

    config: ml_collections.ConfigDict
    method: Method
    variables: Variables
    step: int

    def maps(self, arrays: Mapping[str, Any]) -> Maps:
        """Returns the maps of a batch of clips, see `predict_maps`."""
        return self._predict(self.variables, dict(arrays), np.int32(self.step))

    @functools.cached_property
    def _predict(self) -> Predict:
        return make_predict(self.method)


def make_predict(
    method: Method, *, layout: jax.sharding.Sharding | None = None
) -> Predict:
    """Returns the jitted `predict_maps` of a method: `(variables, arrays, step) -> maps`.

    Args:
        method: to predict with.
        layout: of the maps over the devices; None to leave them where they are computed.
    """

    def predict(variables, arrays, step=None):
        return predict_maps(method, variables, arrays, step)

    return jax.jit(predict, out_shardings=layout)


def predict_maps(
    method: Method,
    variables: Variables,
    arrays: Mapping[str, Any],
    step: Any = None,
) -> Maps:
    """Returns the maps of a batch of clips of one frame, or of two (target, source).

    Clips of one frame, `[b 1 h w 3]`, give `depth [b h w]` only. Clips of two give:

    - `depth [b h w]`: depth of the target, in one unknown unit;
    - `rotation [b 3 3]`, `translation [b 3]`: egomotion, `source_from_target`;
    - `object_motion [b h w 3]`: residual translation of each target point between the
      two times, in the source camera's frame;
    - `warped [b h w 3]`: the source image seen from the target;
    - `valid [b h w]`: the moved point lies in front of the source camera and projects
      into its image;
    - `occluded [b h w]`: it is valid, but hidden behind a nearer surface of the source;
    - `intrinsics [b 3 3]`: given or learned, in pixels.

    Methods with object poses add, for k slots, `object_labels [b k]` (0 for an empty
    slot), `object_centers [b k 3]` (mean of the points seen in the target) and
    `object_translations [b k 3]` (displacement of that centre). Both are in the target
    camera's frame, with the camera's own motion removed.

    Args:
        method: to predict with.
        variables: of the method.
        arrays: of the clips, as `structs.batch_from_arrays` takes them. Clips of one
            frame need no `intrinsics`.
        step: training steps done. Parts of a prediction that training has not switched
            on by then are left out. None after all burn-in.
    """
    arrays = dict(arrays)
    num_clips, num_frames = arrays["frames"].shape[:2]
    if num_frames == 1:
        # The depth of a single frame does not depend on its intrinsics.
        eye = jnp.broadcast_to(jnp.eye(3), (num_clips, 3, 3))
        arrays.setdefault("intrinsics", eye)
    batch = batch_from_arrays(arrays)
    prediction, _ = method.predict(variables, batch, step=step)
    if num_frames == 1:
        return {"depth": prediction.depth[:, 0]}
    pairs = prediction.require_pairs()
    pair = list(zip(pairs.target_index, pairs.source_index)).index((0, 1))
    motion = Motion(pairs.motion.rotation[:, pair], pairs.motion.translation[:, pair])
    source = jnp.concatenate(
        [batch.frames[:, 1], prediction.depth[:, 1, ..., None]], axis=-1
    )
    warped = jax.vmap(warp.inverse_warp)(
        source, prediction.depth[:, 0], motion, prediction.intrinsics
    )
    hidden = warped.depth > (1 + OCCLUSION_TOLERANCE) * warped.image[..., 3]
    maps = {
        "depth": prediction.depth[:, 0],
        "rotation": pairs.egomotion.rotation[:, pair],
        "translation": pairs.egomotion.translation[:, pair],
        "object_motion": pairs.residual_translation[:, pair],
        "warped": warped.image[..., :3],
        "valid": warped.valid,
        "occluded": warped.valid & hidden,
        "intrinsics": prediction.intrinsics,
    }
    if pairs.objects is not None:
        maps |= _object_maps(pairs.objects, pair)
    return maps


def _object_maps(objects: Objects, pair: int) -> Maps:
    """Returns the labels, centres and displacements of the objects of one pair."""
    center, pose = objects.center[:, pair], objects.pose
    moved = rotation_lib.apply(pose.rotation[:, pair], center)
    moved = moved + pose.translation[:, pair]
    return {
        "object_labels": objects.labels[:, pair],
        "object_centers": center,
        "object_translations": moved - center,
    }
