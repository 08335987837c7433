"""Records: a frame as a `tf.train.Example` in the encoding of TFDS.

| feature             | content                                                        |
|---------------------|----------------------------------------------------------------|
| `image`             | RGB `[h w 3]`, JPEG or PNG                                     |
| `intrinsics`        | float32 `[3 3]`, pixels of this image; NaN where unknown       |
| `recording`         | name of the drive or video                                     |
| `frame`             | number of the frame in it                                      |
| `timestamp`         | float64, seconds                                               |
| `world_from_camera` | float64 `[4 4]`, metres, origin near the start of the drive    |
| `depth`             | float32 `[h w]`, camera z in metres, 0 where unknown; deflated |
| `instance_labels`   | uint8 `[h w 1]`, 0 for background; PNG                         |

A data set has the last four if they are known for any recording; NaN or 0 marks what is
unknown for others. TFDS encodes records. This module decodes them, because the decoder
of TFDS takes longer than that of the JPEG; it only needs image, depth and labels.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

from mdm_jax.sources import protobuf_wire

OPTIONAL = ("timestamp", "world_from_camera", "depth", "instance_labels")
IMAGE_FORMATS = ("jpeg", "png")
# The photometric loss compares colours, so the chroma keeps its full resolution: at
# 128x416 the mean error is 2.3 grey levels, and 3.0 with halved chroma.
_JPEG = (
    *(cv2.IMWRITE_JPEG_QUALITY, 95),
    *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
)


def features(size: tuple[int, int], image_format: str, optional: Sequence[str]) -> Any:
    """Returns the `tfds.features.FeaturesDict` of records.

    Args:
        size: (height, width).
        image_format: one of `IMAGE_FORMATS`.
        optional: which of `OPTIONAL` they have.

    Raises:
        ImportError: TFDS is not installed.
    """
    tfds = import_tfds()
    # Examples have no float64; by default TFDS would round to float32.
    exact = {"dtype": np.float64, "encoding": "bytes"}
    known = {
        "timestamp": tfds.features.Tensor(shape=(), **exact),
        "world_from_camera": tfds.features.Tensor(shape=(4, 4), **exact),
        "depth": tfds.features.Tensor(shape=size, dtype=np.float32, encoding="zlib"),
        "instance_labels": tfds.features.Image(shape=(*size, 1), encoding_format="png"),
    }
    return tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(
                shape=(*size, 3), encoding_format=image_format
            ),
            "intrinsics": tfds.features.Tensor(shape=(3, 3), dtype=np.float32),
            "recording": tfds.features.Text(),
            "frame": np.int64,
            **{name: known[name] for name in optional},
        }
    )


def encoder(
    size: tuple[int, int], image_format: str, optional: Sequence[str]
) -> Callable[[dict[str, Any]], bytes]:
    """Returns a function that encodes the features of a frame, images as arrays.

    It is deterministic: the same frame gives the same bytes.
    """
    connector = features(size, image_format, optional)
    import_tfds()
    from tensorflow_datasets.core import example_serializer

    serializer = example_serializer.ExampleSerializer(connector.get_serialized_info())

    def encode(frame: dict[str, Any]) -> bytes:
        frame = dict(frame, image=encode_image(frame["image"], image_format))
        if "instance_labels" in frame:
            frame["instance_labels"] = encode_image(frame["instance_labels"], "png")
        example = serializer.get_tf_example(connector.encode_example(frame))
        # Otherwise the order of the features, a map, is arbitrary.
        return example.SerializeToString(deterministic=True)

    return encode


def import_tfds() -> Any:
    """Returns the module `tensorflow_datasets`; it does not load TensorFlow.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import tensorflow_datasets
    except ImportError as error:
        raise ImportError(
            "building a data set needs TFDS: pip install 'mdm_jax[datasets]'"
        ) from error
    return tensorflow_datasets


def encode_image(image: np.ndarray, image_format: str) -> bytes:
    """Returns the bytes of uint8 `[h w 3]` RGB or `[h w]` in JPEG or PNG."""
    if image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    options = _JPEG if image_format == "jpeg" else ()
    done, content = cv2.imencode(f".{image_format}", image, options)
    if not done:
        raise ValueError(f"an image of shape {image.shape} cannot be encoded")
    return content.tobytes()


def decode(record: bytes, feature: str) -> np.ndarray:
    """Returns `image`, `depth` or `instance_labels` of a record.

    Raises:
        ValueError: it is missing or damaged.
    """
    content = _bytes_feature(record, feature.encode())
    if feature == "depth":
        try:
            return np.frombuffer(zlib.decompress(content), np.float32)
        except zlib.error as error:
            raise ValueError(f"depth is damaged ({error})") from error
    flags = cv2.IMREAD_COLOR_RGB if feature == "image" else cv2.IMREAD_GRAYSCALE
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error as error:
        raise ValueError(f"{feature} cannot be decoded ({error.err})") from error
    if image is None:
        raise ValueError(f"{feature} cannot be decoded")
    return image


def _bytes_feature(record: bytes, name: bytes) -> memoryview:
    """Returns the byte string of a feature.

    An example is `features (1) { feature (1): map { key (1), value (2) } }`, and such a
    value is `bytes_list (1) { value (1) }`.
    """
    # Fields are parsed lazily, up to the one that is needed.
    for number, entry in protobuf_wire.fields(_first(memoryview(record), 1)):
        if number == 1 and not isinstance(entry, int) and _first(entry, 1) == name:
            return _first(_first(_first(entry, 2), 1), 1)
    raise ValueError(f"the record has no {name.decode()}")


def _first(message: memoryview, wanted: int) -> memoryview:
    """Returns the first message, text or byte string with a field number."""
    for number, value in protobuf_wire.fields(message):
        if number == wanted and not isinstance(value, int):
            return value
    raise ValueError(f"the record has no field {wanted} where one is expected")
