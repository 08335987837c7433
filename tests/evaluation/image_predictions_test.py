"""Depth of images: any size goes in, whole batches are predicted, in order."""

import numpy as np
import pytest

from mdm_jax.evaluation import image_predictions, map_files, protocols


def _images(sizes):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (*size, 3)).astype(np.uint8) for size in sizes]
    names = [f"{i:03d}" for i in range(len(images))]
    return map_files.Maps(names, names, images.__getitem__, named=True)


def test_images_of_any_size_are_predicted_once_each_in_whole_batches():
    images = _images([(11, 30), (12, 31), (13, 32), (50, 90), (6, 9)])
    calls = []

    def predict(frames):
        calls.append(frames.shape)
        return frames.mean(axis=-1)

    maps = image_predictions.predicted_depth(
        images, predict, protocol=protocols.get("waymo"), size=(8, 24), batch_size=2
    )
    for i in range(5):
        assert maps.read(i).shape == (8, 24)
        assert maps.read(i).mean() == pytest.approx(images.read(i).mean(), rel=0.05)
    assert calls == [(2, 8, 24, 3)] * 3
    assert maps.names == images.names and maps.named


@pytest.mark.parametrize(
    ("protocol", "size", "box"),
    [
        ("kitti_eigen", (37, 124), (0, 37, 0, 124)),
        ("cityscapes", (1024, 2048), (0, 768, 0, 2048)),
        # Half the size of the truth.
        ("cityscapes", (512, 1024), (0, 384, 0, 1024)),
        # The truth has 55 rows, of which 17 to 37 are shown.
        ("make3d", (550, 400), (170, 380, 0, 400)),
    ],
)
def test_the_network_sees_what_the_protocol_says_a_prediction_shows(
    protocol, size, box
):
    y, x = np.indices(size)
    image = np.stack([y, x], axis=-1)
    shown = image_predictions.visible_part(protocols.get(protocol), image)
    assert (*shown[0, 0], *shown[-1, -1] + 1) == (box[0], box[2], box[1], box[3])
