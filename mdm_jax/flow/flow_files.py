"""Optical flow from files: Middlebury `.flo`, KITTI's PNG, and NPZ.

All give float32 `[h w 2]`, (x, y) in pixels, NaN where unknown. Every problem is a
`DataError` that names the file.
"""

from __future__ import annotations

import pathlib

import numpy as np

from mdm_jax.files import file_content, image_file
from mdm_jax.files.errors import DataError

SUFFIXES = (".flo", ".png", ".npz")
_MAGIC = b"PIEH"  # 202021.25 as a little-endian float
_HEADER = 12
# Middlebury marks unknown flow by larger numbers.
_UNKNOWN = 1e9


def read(path: pathlib.Path, *, size: tuple[int, int]) -> np.ndarray:
    """Returns the flow of a file.

    Args:
        path: `.flo`, `.png` or `.npz`.
        size: height and width that it must have.

    Raises:
        DataError: not such a file, cut off, or of another size.
    """
    readers = {".flo": _read_flo, ".png": _read_kitti, ".npz": _read_npz}
    if path.suffix.lower() not in readers:
        raise DataError(path, f"expected flow as {' '.join(SUFFIXES)}")
    flow = readers[path.suffix.lower()](path)
    if flow.shape != (*size, 2):
        raise DataError(
            path,
            f"expected flow of {size[0]}x{size[1]} pixels (height x width) like the"
            f" frames, got {list(flow.shape)}; was it computed on resized frames?",
        )
    known = np.all(np.abs(flow) < _UNKNOWN, axis=-1, keepdims=True)
    return np.where(known, flow.astype(np.float32), np.float32(np.nan))


def _read_flo(path: pathlib.Path) -> np.ndarray:
    content = file_content.read_bytes(path)
    if content[:4] != _MAGIC or len(content) < _HEADER:
        raise DataError(
            path, f"expected a .flo that starts with {_MAGIC}, got {content[:4]}"
        )
    width, height = (int(side) for side in np.frombuffer(content[4:_HEADER], "<i4"))
    if len(content) != _HEADER + 8 * width * height or min(width, height) < 1:
        raise DataError(
            path,
            f"its header announces {height}x{width} pixels (height x width), which does"
            f" not agree with {len(content)} bytes; is it cut off?",
        )
    return np.frombuffer(content[_HEADER:], "<f4").reshape(height, width, 2)


def _read_kitti(path: pathlib.Path) -> np.ndarray:
    """Returns u = (R - 2^15) / 64, v = (G - 2^15) / 64, valid where B is not 0."""
    values = image_file.read_labels(path)
    if values.dtype != np.uint16 or values.ndim != 3 or values.shape[2] != 3:
        raise DataError(
            path,
            "expected KITTI's flow, a PNG of three channels of 16 bits, got"
            f" {values.dtype} {list(values.shape)}",
        )
    # OpenCV gives blue, green, red.
    flow = (values[..., :0:-1].astype(np.float32) - 2**15) / 64
    return np.where(values[..., :1] > 0, flow, np.float32(np.nan))


def _read_npz(path: pathlib.Path) -> np.ndarray:
    flow = file_content.read_array(path, "flow")
    if flow.ndim == 3 and flow.shape[0] == 2 and flow.shape[2] != 2:
        flow = np.moveaxis(flow, 0, 2)
    if flow.ndim != 3 or flow.dtype.kind not in "fiu":
        raise DataError(
            path, f"flow: expected numbers [h w 2], got {flow.dtype} {flow.shape}"
        )
    return flow
