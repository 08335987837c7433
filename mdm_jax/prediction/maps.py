"""What a method says about single frames and pairs of frames, as named arrays.

A pair is a frame (target) and a later one (source). Everything is of the target: its
depth, the camera's motion on the way to the source, and what moves by itself besides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mdm_jax.geometry import rotation as rotation_lib
from mdm_jax.geometry import warp
from mdm_jax.methods.base import Method
from mdm_jax.structs import Motion, Objects, batch_from_arrays

# A point is hidden where the source shows something nearer than it by this share.
OCCLUSION_TOLERANCE = 0.1

Predict = Callable[[Mapping[str, Any], Mapping[str, Any], Any], dict[str, jax.Array]]


def make_predict(method: Method) -> Predict:
    """Returns a jitted `(variables, arrays, step) -> maps`, for clips of one or two.

    Of clips `[b 1 h w 3]` there is `depth [b h w]` alone. Of clips `[b 2 h w 3]`:

    - `depth [b h w]`: of the target, along the optical axis, in one unknown unit;
    - `rotation [b 3 3]`, `translation [b 3]`: `source_from_target` of the camera;
    - `object_motion [b h w 3]`: translation of each point by itself, in the source
      camera's frame, from the target's time to the source's;
    - `valid [b h w]`: the point lies inside the source's image, in front of the camera;
    - `occluded [b h w]`: it does, but something nearer hides it there;
    - `intrinsics [b 3 3]`: given or learned;

    and, where the method knows single objects, for k slots: `object_labels [b k]`, 0
    where empty, `object_centers [b k 3]`, the mean of the points seen in the target,
    and `object_translations [b k 3]`, how far that moves, both in the target camera's
    frame with the camera's own motion left out.

    `step` is the number of training steps done: what training has not switched on yet
    is not predicted either.
    """

    def predict(variables, arrays, step):
        batch = batch_from_arrays(arrays)
        prediction, _ = method.predict(variables, batch, step=step)
        if batch.frames.shape[1] == 1:
            return {"depth": prediction.depth[:, 0]}
        pairs = prediction.require_pairs()
        first = pairs.target_index.index(0)
        motion = Motion(
            pairs.motion.rotation[:, first], pairs.motion.translation[:, first]
        )
        # The source's depth, where each point of the target goes.
        warped = jax.vmap(warp.inverse_warp)(
            prediction.depth[:, 1, ..., None],
            prediction.depth[:, 0],
            motion,
            prediction.intrinsics,
        )
        hidden = warped.depth > (1 + OCCLUSION_TOLERANCE) * warped.image[..., 0]
        maps = {
            "depth": prediction.depth[:, 0],
            "rotation": pairs.egomotion.rotation[:, first],
            "translation": pairs.egomotion.translation[:, first],
            "object_motion": pairs.residual_translation[:, first],
            "valid": warped.valid,
            "occluded": warped.valid & hidden,
            "intrinsics": prediction.intrinsics,
        }
        if pairs.objects is not None:
            one = jax.tree.map(lambda x: x[:, first], _per_pair(pairs.objects))
            moved = rotation_lib.apply(one["rotation"], one["center"])
            moved = moved + one["translation"]
            maps |= {
                "object_labels": one["labels"],
                "object_centers": one["center"],
                "object_translations": moved - one["center"],
            }
        return jax.tree.map(jnp.asarray, maps)

    return jax.jit(predict)


def _per_pair(objects: Objects) -> dict[str, jax.Array]:
    return {
        "labels": objects.labels,
        "center": objects.center,
        "rotation": objects.pose.rotation,
        "translation": objects.pose.translation,
    }
