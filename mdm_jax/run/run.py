"""A trained run: `mdm_jax.load("runs/mine")` returns one."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from mdm_jax.geometry import intrinsics as intrinsics_lib
from mdm_jax.geometry import view as view_lib
from mdm_jax.geometry.view import View
from mdm_jax.methods import inference
from mdm_jax.prediction import pipeline
from mdm_jax.prediction.request import Request

# Images or pairs predicted at a time.
_BATCH_SIZE = 8


@dataclasses.dataclass(frozen=True, eq=False)
class Run(inference.Model):
    """A trained model and the folder it was trained in.

    Attributes:
        workdir: folder of the run.
    """

    workdir: pathlib.Path

    def predict(
        self,
        video: str | os.PathLike[str],
        output: str | os.PathLike[str],
        **request: Any,
    ) -> list[dict[str, Any]]:
        """Writes depth, object motion, trajectory and a film of a video to a folder.

        Args:
            video: an image, a video, a folder of images, or a folder of several; each
                of several recordings gets a folder of its own.
            output: folder of the results; an interrupted prediction is continued.
            **request: fields of `Request`, such as `camera_height=1.6`.

        Returns:
            For each recording the contents of its `prediction.json`.

        Raises:
            ValueError: an input or option cannot be used; the message says what to do.
            OSError: a file cannot be read or written.
        """
        return pipeline.predict_all(
            self,
            os.fspath(video),
            pathlib.Path(output).expanduser(),
            Request(**request),
            made_by=self.identity(),
        )

    def depth(self, images: np.ndarray) -> np.ndarray:
        """Returns float32 `[h w]` or `[b h w]`: depth, up to one unknown scale.

        Args:
            images: `[h w 3]` or `[b h w 3]` of any size, uint8 or float in [0, 1], RGB.
                They are stretched to the size of the network's images and depth is
                stretched back.
        """
        images = np.asarray(images)
        size = images.shape[-3:-1]
        view = view_lib.stretched(size, self.config.dataset.size)
        clips = self._seen(images, view)[:, None]
        depth = self._in_batches({"frames": clips})["depth"]
        depth = np.stack([view.original_depth(one) for one in depth])
        return depth.reshape(images.shape[:-1])

    def motion(
        self,
        images: np.ndarray,
        intrinsics: np.ndarray | None = None,
        *,
        labels: np.ndarray | None = None,
    ) -> dict[str, np.ndarray]:
        """Returns egomotion, object motion and depth between the two images of pairs.

        Args:
            images: `[2 h w 3]` or `[b 2 h w 3]` of any size, uint8 or float in [0, 1],
                RGB: the target and the source of each pair.
            intrinsics: `[3 3]` in pixels of the images; None if the run learned them.
            labels: uint8 `[2 h w]` or `[b 2 h w]`, instances that keep their label in
                both images, for methods that need them.

        Returns:
            The maps of `inference.predict_maps` that belong to a pair, in the size of
            the images: `rotation`, `translation`, `depth`, `object_motion`, `valid`,
            `occluded`, and `intrinsics` in pixels of the images.

        Raises:
            ValueError: intrinsics are needed and not given.
        """
        images = np.asarray(images)
        size = images.shape[-3:-1]
        view = view_lib.stretched(size, self.config.dataset.size)
        frames = self._seen(images, view)
        clips = frames.reshape(-1, 2, *frames.shape[1:])
        arrays = {"frames": clips, "video_index": np.full(len(clips), -1, np.int32)}
        if intrinsics is None and not self.method.learns_intrinsics:
            raise ValueError("motion needs intrinsics: this run cannot predict them")
        matrix = (
            intrinsics_lib.initial_guess(view.size)
            if intrinsics is None
            else view.intrinsics(np.asarray(intrinsics, np.float64))
        )
        arrays["intrinsics"] = np.tile(np.float32(matrix), (len(clips), 1, 1))
        if labels is not None:
            seen = [view.labels(one) for one in np.reshape(labels, (-1, *size))]
            arrays["instance_labels"] = np.stack(seen).reshape(clips.shape[:-1])
        maps = self._in_batches(arrays)
        result = {
            "rotation": maps["rotation"],
            "translation": maps["translation"],
            "intrinsics": view.original_intrinsics(maps["intrinsics"]),
            "depth": np.stack([view.original_depth(d) for d in maps["depth"]]),
        }
        for name in ("object_motion", "valid", "occluded"):
            values = [view.original_nearest(one) for one in maps[name]]
            result[name] = np.stack(values)
        if images.ndim == 4:
            result = {name: values[0] for name, values in result.items()}
        return result

    def identity(self) -> dict[str, Any]:
        """Returns what distinguishes this model from others, as JSON values."""
        folder = self.workdir / "checkpoints" / str(self.step)
        return {
            "workdir": str(self.workdir.resolve()),
            "step": self.step,
            # Another run may be trained in the same folder, up to the same step.
            "written": folder.stat().st_mtime_ns if folder.is_dir() else None,
        }

    def _seen(self, images: np.ndarray, view: View) -> np.ndarray:
        """Returns images in the size of the network's, uint8 `[n h w 3]`."""
        if images.dtype != np.uint8:
            images = np.rint(255 * np.clip(images, 0, 1)).astype(np.uint8)
        flat = images.reshape(-1, *images.shape[-3:])
        return np.stack([view.image(image) for image in flat])

    def _in_batches(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the maps of all clips, predicted a batch at a time."""
        count = len(arrays["frames"])
        batches = []
        for start in range(0, count, _BATCH_SIZE):
            batch = {k: v[start : start + _BATCH_SIZE] for k, v in arrays.items()}
            batches.append(jax.device_get(self.maps(batch)))
        return {k: np.concatenate([b[k] for b in batches]) for k in batches[0]}
