"""Tests of the quality of links: degraded masks of synthetic drives are linked again."""

import cv2
import numpy as np
import pytest

from benchmarks import link_quality
from mdm_jax.annotation import clip_annotation, linking
from mdm_jax.files import image_file
from mdm_jax.flow import flow_sources
from mdm_jax.masks import instances
from mdm_jax.recording import true_motion
from mdm_jax.synthetic import rendered_drives

_FRAMES = 10


@pytest.fixture(scope="module")
def drive():
    return rendered_drives.make_drive((0, 0, 1), num_frames=_FRAMES, size=(96, 312))


@pytest.fixture(scope="module")
def exact(drive):
    flows = {
        (i, j): true_motion.optical_flow(drive, i, j).astype(np.float32)
        for i in range(_FRAMES)
        for j in (i - 1, i + 1)
        if 0 <= j < _FRAMES
    }
    return lambda one, other: flows[one.index, other.index]


def _measure(drive, flow):
    cv2.setNumThreads(1)
    options = linking.Options(min_pixels=20)
    found = [
        link_quality.measure(
            drive.frames, drive.instance_labels, flow, seed=seed, options=options
        )
        for seed in range(4)
    ]
    return sum(found, link_quality.Quality())


def test_exact_flow_recovers_nearly_all_pairs_of_degraded_masks(drive, exact):
    found = _measure(drive, exact)
    assert found.pairs > 60
    assert found.precision >= 0.99
    assert found.recall >= 0.97


def test_dis_flow_recovers_most_pairs_of_degraded_masks(drive):
    found = _measure(drive, flow_sources.dense_inverse_search)
    assert found.pairs > 60
    assert found.precision >= 0.95
    assert found.recall >= 0.9


def test_damage_is_done_as_often_as_said(street):
    rng = np.random.default_rng(0)
    damage = link_quality.Damage(erosion=0, dropped=0.2, split=0.1)
    labels = street.labels[0]
    all_labels = np.unique(labels[labels > 0])
    kept = pieces = 0
    for _ in range(300):
        found = link_quality.degrade(labels, rng, damage)
        for mask, label in zip(found.masks.masks, found.truth, strict=True):
            assert not (mask & (labels != label)).any()
        kept += len(np.unique(found.truth))
        pieces += len(found.truth)
    total = 300 * len(all_labels)
    assert abs(1 - kept / total - 0.2) < 0.04
    assert abs(pieces / kept - 1 - 0.1) < 0.04


def test_undamaged_masks_are_the_true_ones_in_another_order(street):
    damage = link_quality.Damage(erosion=0, dropped=0, split=0)
    found = link_quality.degrade(street.labels[3], np.random.default_rng(2), damage)
    assert sorted(found.truth) == [1, 2, 3, 4]
    assert list(found.truth) != [1, 2, 3, 4]
    for mask, label in zip(found.masks.masks, found.truth, strict=True):
        np.testing.assert_array_equal(mask, street.labels[3] == label)


def test_erosion_takes_from_the_rim_alone(street):
    damage = link_quality.Damage(erosion=1, dropped=0, split=0)
    labels = street.labels[0]
    kernel = np.ones((3, 3), np.uint8)
    found = link_quality.degrade(labels, np.random.default_rng(0), damage)
    for mask, label in zip(found.masks.masks, found.truth, strict=True):
        core = cv2.erode((labels == label).astype(np.uint8), kernel) > 0
        assert (mask >= core).all()


def test_links_to_wrong_objects_lower_precision_not_recall():
    one, other = np.array([4, 7]), np.array([7, 4])
    large = np.ones(256, bool)
    swapped = np.array([[0, 0], [1, 1]])
    right = np.array([[0, 1], [1, 0]])
    assert link_quality.count(one, other, right, large, ()).precision == 1
    wrong = link_quality.count(one, other, swapped, large, ())
    assert wrong == link_quality.Quality(links=2, correct=0, pairs=2, recovered=0)
    seen_between = link_quality.count(one, other, right[:0], large, [4])
    assert seen_between == link_quality.Quality(pairs=1)


# Sample data.


def test_moving_cars_of_a_real_street_keep_one_id(sample_data):
    root = sample_data / "cityscapes_sequence"
    size, step, count = (256, 512), 4, 8
    images, maps = [], []
    rng = np.random.default_rng(0)
    for i in range(count):
        name = f"train/aachen/aachen_000003_{i:06d}"
        image = image_file.read(root / f"leftImg8bit_sequence/{name}_leftImg8bit.jpg")
        images.append(cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA))
        ids = image_file.read_labels(root / f"pred_instances/{name}_instances.png")
        scrambled = np.append(rng.permutation(np.arange(1, 256)), 0).astype(np.uint8)
        maps.append(scrambled[ids[2::step, 2::step]])
    labels_of_clip, tracks = clip_annotation.annotate_images(
        images, lambda frame: instances.from_label_map(maps[frame.index])
    )
    # Two cars drive ahead all the time, far larger than all else that is seen.
    for place in (0, 1):
        labels = set()
        for scrambled, matched in zip(maps, labels_of_clip, strict=True):
            areas = np.bincount(scrambled[scrambled > 0])
            mask = scrambled == np.argsort(areas)[-1 - place]
            labels |= set(np.unique(matched[mask]).tolist())
        assert len(labels) == 1
        assert labels != {0}
    # Crossing cars come and go; most masks still have one before.
    assert tracks.summary["share_matched"] > 0.6
