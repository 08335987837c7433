"""Depth that a trained method sees in single images of any size, as maps to be compared.

The network sees of an image what the protocol says that a prediction shows, stretched
to the size it was trained on, as the published scripts do; the protocol resizes what it
predicts to the size of the truth. Maps are predicted a batch at a time, when asked for,
and only the newest batch is kept.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np

from mdm_jax.evaluation.predictions import Maps
from mdm_jax.evaluation.protocols import DepthProtocol
from mdm_jax.input_pipeline import transforms

PredictDepth = Callable[[np.ndarray], jax.Array]


def predicted_depth(
    images: Maps,
    predict: PredictDepth,
    *,
    protocol: DepthProtocol,
    size: tuple[int, int],
    batch_size: int,
) -> Maps:
    """Returns the predicted depth of images, `[h w]` of the network's size.

    Args:
        images: RGB, uint8 `[H W 3]`; each may have another size.
        predict: maps images, uint8 `[b h w 3]`, to their depth `[b h w]`.
        protocol: says which part of an image is to be shown.
        size: (height, width) that the network was trained on.
        batch_size: images predicted at a time; read in order, none is predicted twice.
    """
    newest: dict[int, np.ndarray] = {}

    def read(index: int) -> np.ndarray:
        if index not in newest:
            start = index - index % batch_size
            chosen = range(start, min(start + batch_size, len(images)))
            shown = [
                transforms.resize_image(shown_part(protocol, images.read(i)), size)
                for i in chosen
            ]
            # Filled up by repetition, so that nothing is compiled twice.
            shown += [shown[-1]] * (batch_size - len(shown))
            depth = np.asarray(predict(np.stack(shown)))
            newest.clear()
            newest.update(zip(chosen, depth))
        return newest[index]

    return Maps(images.names, images.places, read, images.named)


def shown_part(protocol: DepthProtocol, image: np.ndarray) -> np.ndarray:
    """Returns the part of an image `[h w 3]` that a prediction is to show.

    The box of the protocol is in pixels of the truth, whose size may be another one.
    """
    size = image.shape[:2]
    reference = protocol.truth_size or size
    slices = protocol.view.slices(reference)
    rows, columns = (
        slice(round(part.start * new / old), round(part.stop * new / old))
        for part, new, old in zip(slices, size, reference, strict=True)
    )
    return image[rows, columns]
