"""The camera's way seen from above: x to the right, z ahead, of its first frame."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib import figure
from matplotlib.backends import backend_agg

_WAY = "#d1495b"
_HEADING = "#30638e"
_DPI = 128
# So many arrows show where the camera looks.
_NUM_ARROWS = 12


def draw(
    world_from_camera: Float[np.ndarray, "n 4 4"], *, unit: str
) -> UInt8[np.ndarray, "h w 3"]:
    """Returns a plot of the positions, with arrows along the optical axis.

    Args:
        world_from_camera: in order; y of the world points down.
        unit: of the positions, for the axes.
    """
    position = world_from_camera[:, :3, 3]
    drawing = figure.Figure(figsize=(6.4, 6.4), dpi=_DPI, layout="constrained")
    plot = drawing.subplots()
    plot.plot(position[:, 0], position[:, 2], color=_WAY, lw=1.4, label="camera")
    plot.plot(*position[0, [0, 2]], "o", color=_WAY, ms=6, label="start")
    chosen = np.linspace(0, len(position) - 1, min(_NUM_ARROWS, len(position)))
    chosen = np.unique(chosen.round().astype(int))
    forward = world_from_camera[chosen, :3, 2]
    extent = max(float(np.ptp(position[:, [0, 2]], axis=0).max()), 1e-9)
    arrows = 0.08 * extent * forward[:, [0, 2]]
    starts = position[chosen][:, [0, 2]]
    plot.quiver(
        *starts.T,
        *arrows.T,
        angles="xy",
        scale_units="xy",
        scale=1,
        width=0.004,
        color=_HEADING,
    )
    # The axes do not make room for arrows by themselves.
    plot.plot(*(starts + arrows).T, ls="", label="arrows: where it looks")
    plot.set_aspect("equal", adjustable="datalim")
    plot.set_xlabel(f"x, right [{unit}]")
    plot.set_ylabel(f"z, ahead [{unit}]")
    plot.spines[["top", "right"]].set_visible(False)
    plot.grid(alpha=0.25)
    plot.legend(frameon=False)
    canvas = backend_agg.FigureCanvasAgg(drawing)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
