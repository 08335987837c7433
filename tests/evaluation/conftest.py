"""Predicted pairs of the tiny drives that are right, or wrong in a known way."""

import numpy as np
import pytest

from mdm_jax.evaluation import pairs as pairs_lib
from mdm_jax.recording import true_motion


def _truth(recording, index, source, scale):
    pose = true_motion.camera_motion(recording, index, source)
    residual = true_motion.rigid_motion(recording, index, source).residual_translation
    return {
        "depth": scale * recording.depth[index],
        "rotation": pose[:3, :3],
        "translation": scale * pose[:3, 3],
        "object_motion": scale * residual,
        "warped": recording.frames[index] / 255,
        "valid": np.ones(recording.size, bool),
        "intrinsics": recording.intrinsics,
    }


@pytest.fixture
def true_pairs():
    """Returns a function that makes `PredictedPairs` of the truth.

    In a unit of its own; `change` may alter the maps of each pair. The `calls` of the
    result count the batches that were predicted.
    """

    def make(recordings, *, scale=0.2, stride=1, batch_size=4, change=None):
        frames = {
            one.frames[i].tobytes(): (one, i)
            for one in recordings
            for i in range(len(one))
        }
        calls = []

        def predict(arrays):
            calls.append(len(arrays["frames"]))
            rows = []
            for clip in arrays["frames"]:
                one, index = frames[clip[0].tobytes()]
                rows.append(_truth(one, index, index + stride, scale))
                if change is not None:
                    change(one, index, rows[-1])
            return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

        pairs = pairs_lib.PredictedPairs(
            predict,
            recordings,
            pairs_lib.frame_pairs(recordings, frame_stride=stride),
            batch_size=batch_size,
            frame_stride=stride,
            held_out=True,
        )
        pairs.calls = calls
        return pairs

    return make
