"""Random changes of training clips: crop and resize, mirroring, colours.

All frames of a clip change alike, intrinsics follow the pixels, and the clip keeps its
size. What a clip becomes depends on the given generator alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import cv2
import grain
import numpy as np

from mdm_jax.geometry.view import View
from mdm_jax.input_pipeline import transforms

# Weights of red, green and blue in luma (ITU-R BT.601).
_LUMA = np.array([0.299, 0.587, 0.114])


@dataclasses.dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How strong and how frequent random changes are.

    Attributes:
        flip_probability: of mirroring a clip.
        min_crop_scale: a window with sides of at least this fraction of the image's
            is cut out and enlarged to the full size; 1 switches cropping off.
        color_probability: of changing the colours of a clip.
        brightness: colours are multiplied by a factor within 1 +- this.
        contrast: differences from the clip's mean grey by a factor within 1 +- this.
        saturation: differences from each pixel's grey by a factor within 1 +- this.
        hue: colours turn by up to this fraction of the whole circle, at most 0.5.
    """

    flip_probability: float = 0.5
    min_crop_scale: float = 0.8
    color_probability: float = 0.5
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    hue: float = 0.05

    def __post_init__(self):
        ranges = {
            "flip_probability": (0, 1),
            "min_crop_scale": (0.05, 1),
            "color_probability": (0, 1),
            "brightness": (0, 1),
            "contrast": (0, 1),
            "saturation": (0, 1),
            "hue": (0, 0.5),
        }
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(
                    f"augment.{name} must be in [{low}, {high}], got {value}"
                )


def make_config(options: AugmentConfig | Mapping[str, Any]) -> AugmentConfig:
    """Returns the config of a mapping, such as an `ml_collections.ConfigDict`.

    Raises:
        ValueError: an unknown field, or a value out of range.
    """
    if isinstance(options, AugmentConfig):
        return options
    known = [field.name for field in dataclasses.fields(AugmentConfig)]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ValueError(
            f"unknown augment fields {unknown}; the fields are {', '.join(known)}"
        )
    return AugmentConfig(**{name: options[name] for name in options})


class Augment(grain.transforms.RandomMap):
    """Changes a sample at random; a transformation for Grain's `random_map`."""

    def __init__(self, config: AugmentConfig):
        self._config = config

    def random_map(
        self, element: transforms.Sample, rng: np.random.Generator
    ) -> transforms.Sample:
        """Returns the sample cropped, mirrored and recoloured as `rng` draws.

        Its `pixel_map` tells the crop and the mirroring, see `structs.Batch`.
        """
        config = self._config
        element = {**element, "pixel_map": np.array([[1, 0], [1, 0]], np.float32)}
        if config.min_crop_scale < 1:
            element = random_crop_resize(element, rng, min_scale=config.min_crop_scale)
        if rng.random() < config.flip_probability:
            element = transforms.flip_horizontal(element)
        if rng.random() < config.color_probability:
            matrix = random_color_matrix(rng, config, element["frames"])
            element = transforms.transform_colors(element, matrix)
        return element


def random_crop_resize(
    sample: Mapping[str, Any], rng: np.random.Generator, *, min_scale: float
) -> transforms.Sample:
    """Returns a random window of the sample, resized to the sample's size.

    Both sides are a common random fraction in [min_scale, 1] of the image's, rounded
    to pixels; the intrinsics are exact for the rounded window.
    """
    height, width = sample["frames"].shape[1:3]
    size = (height, width)
    scale = rng.uniform(min_scale, 1)
    window = (max(1, round(height * scale)), max(1, round(width * scale)))
    y0 = int(rng.integers(height - window[0], endpoint=True))
    x0 = int(rng.integers(width - window[1], endpoint=True))
    return transforms.see(sample, View(x0, y0, window, size, size))


def random_color_matrix(
    rng: np.random.Generator, config: AugmentConfig, frames: np.ndarray
) -> np.ndarray:
    """Returns a random affine map of RGB in [0, 1], `[3 4]`, for a clip.

    Brightness, contrast, saturation and hue are all affine in RGB (hue as a turn about
    the grey axis in the YIQ space), so one pass over the pixels does all four, and
    nothing is rounded or clipped in between.
    """
    brightness, contrast, saturation = (
        rng.uniform(1 - strength, 1 + strength)
        for strength in (config.brightness, config.contrast, config.saturation)
    )
    turn = 2 * np.pi * rng.uniform(-config.hue, config.hue)
    tall = np.ascontiguousarray(frames).reshape(-1, *frames.shape[2:])
    mean_color = np.array(cv2.mean(tall)[:3])  # ten times as fast as NumPy
    if frames.dtype == np.uint8:
        mean_color = mean_color / 255
    grey = np.ones((3, 1)) @ _LUMA[None, :]
    linear = _hue_rotation(turn) @ (grey + saturation * (np.eye(3) - grey))
    linear = brightness * contrast * linear
    # contrast: c -> mean + contrast (c - mean), after brightness
    offset = brightness * (1 - contrast) * (_LUMA @ mean_color)
    return np.concatenate([linear, np.full((3, 1), offset)], axis=1)


def _hue_rotation(angle: float) -> np.ndarray:
    """Returns `[3 3]`: RGB turned by radians about the grey axis, luma unchanged."""
    yiq_from_rgb = np.array(
        [_LUMA, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]]
    )
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
    return np.linalg.solve(yiq_from_rgb, turn @ yiq_from_rgb)
