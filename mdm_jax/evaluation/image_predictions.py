"""Depth that a trained method predicts for single images of any size.

The network sees the part of an image that, by the protocol, a prediction shows. This
part is stretched to the network's size as the published scripts do, and the protocol
resizes the prediction to the size of the truth.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mdm_jax.evaluation.map_files import Maps
from mdm_jax.evaluation.protocols import DepthProtocol
from mdm_jax.geometry import view as view_lib


def predicted_depth(
    images: Maps,
    predict: Callable[[np.ndarray], Any],
    *,
    protocol: DepthProtocol,
    size: tuple[int, int],
    batch_size: int,
) -> Maps:
    """Returns the predicted depth of images, `[h w]` at the network's size.

    Args:
        images: RGB, uint8 `[H W 3]`, each of its own size.
        predict: maps images `[b h w 3]` to depth `[b h w]`.
        protocol: decides which part of an image the network sees.
        size: (height, width) that the network was trained on.
        batch_size: images predicted at a time. Reading in order predicts each once, as
            the newest batch is kept.
    """
    newest: dict[int, np.ndarray] = {}

    def read(index: int) -> np.ndarray:
        if index not in newest:
            start = index - index % batch_size
            chosen = range(start, min(start + batch_size, len(images)))
            shown = [
                view_lib.resize_image(visible_part(protocol, images.read(i)), size)
                for i in chosen
            ]
            # Padded by repetition, so that nothing is compiled twice.
            shown += [shown[-1]] * (batch_size - len(shown))
            depth = np.asarray(predict(np.stack(shown)))
            newest.clear()
            newest.update(zip(chosen, depth))
        return newest[index]

    return Maps(images.names, images.places, read, images.named)


def visible_part(protocol: DepthProtocol, image: np.ndarray) -> np.ndarray:
    """Returns the part of an image `[h w 3]` that a prediction shows.

    The protocol's box is in pixels of the truth, which may have another size.
    """
    size = image.shape[:2]
    reference = protocol.truth_size or size
    rows, columns = (
        slice(round(part.start * new / old), round(part.stop * new / old))
        for part, new, old in zip(
            protocol.view.slices(reference), size, reference, strict=True
        )
    )
    return image[rows, columns]
