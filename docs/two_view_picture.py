"""Draws docs/two_view.png: the geometry of a synthetic drive, from its frames alone.

    python docs/two_view_picture.py

Prints the error of the depth against the rendered truth, scaled by the median.
"""

from __future__ import annotations

import pathlib
import tempfile

import cv2
import numpy as np
from PIL import Image

from mdm_jax.prediction import geometry_page, video_geometry
from mdm_jax.sources import own_video
from mdm_jax.synthetic import rendered_drives

OUTPUT = pathlib.Path(__file__).with_name("two_view.png")
SEED, NUM_FRAMES, SIZE = (0, 0, 1), 5, (128, 416)


def main():
    drive = rendered_drives.make_drive(SEED, num_frames=NUM_FRAMES, size=SIZE)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name) / "synthetic drive"
        folder.mkdir()
        for index, frame in enumerate(drive.frames):
            path = folder / f"{index:06d}.png"
            cv2.imwrite(str(path), np.asarray(frame)[..., ::-1])
        matrix = np.asarray(drive.intrinsics)
        numbers = matrix[[0, 1, 0, 1], [0, 1, 2, 2]]
        (folder / "cam.txt").write_text(" ".join(str(value) for value in numbers))
        (source,) = own_video.open_sources(folder, intrinsics="learned")
        source = own_video.with_intrinsics(source, "", required=False)
        geometry = video_geometry.analyse(source, video_geometry.Request(stride=1))
        geometry_page.write(folder / "results", source.name, geometry, fps=10.0)
        # A palette, to keep the repository small.
        picture = Image.open(folder / "results" / "two_view.png").convert("RGB")
        picture = picture.quantize(128, dither=Image.Dither.NONE)
        picture.save(OUTPUT, optimize=True)
    for index, truth in enumerate(np.asarray(drive.depth)):
        depth = geometry.depth(index)
        known = (depth > 0) & (truth > 0)
        ratio = depth[known] / truth[known]
        error = np.mean(np.abs(ratio / np.median(ratio) - 1))
        print(f"frame {index}: Abs Rel {error:.3f} on {known.mean():.2f} of the pixels")


if __name__ == "__main__":
    main()
