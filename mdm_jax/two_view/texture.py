"""Where an image has enough texture for flow to be found.

In bland regions, such as the sky or a smooth road, both flows are drawn from the
surroundings: they agree with each other and mean nothing.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

_WINDOW = 9  # pixels


def textured(
    image: UInt8[np.ndarray, "h w 3"], *, min_gradient: float = 1.0
) -> Bool[np.ndarray, "h w"]:
    """Returns where the root mean square gradient around a pixel is large enough.

    Args:
        image: RGB.
        min_gradient: grey levels per pixel; compression and noise leave about half one.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    x = cv2.Sobel(grey, cv2.CV_32F, 1, 0, scale=1 / 8)
    y = cv2.Sobel(grey, cv2.CV_32F, 0, 1, scale=1 / 8)
    energy = cv2.boxFilter(x * x + y * y, -1, (_WINDOW, _WINDOW))
    return np.asarray(energy >= min_gradient**2)
