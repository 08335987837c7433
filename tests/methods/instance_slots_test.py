"""Slots and packing: against slow loops, and never dependent on what ids are called."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm_jax.methods import instance_slots

B, A, K, H, W = 4, 2, 3, 5, 7

_pack = jax.jit(instance_slots.pack, static_argnames=("budget", "clips_per_pack"))


def _labels(shape=(B, A + 1, H, W), num=6, seed=0):
    rng = np.random.default_rng(seed)
    ids = np.array([0, 3, 17, 200, 255, 4, 9])[: num + 1]
    # Some ids often and some rarely, so that sizes differ.
    weights = np.arange(len(ids), 0, -1.0) ** 2
    return rng.choice(ids, shape, p=weights / weights.sum()).astype(np.uint8)


def test_areas_count_the_pixels_of_each_label():
    labels = _labels()
    areas = jax.jit(instance_slots.areas)(labels)
    assert areas.shape == (B, A + 1, 256)
    for index in np.ndindex(B, A + 1):
        expected = np.bincount(labels[index].ravel(), minlength=256)
        np.testing.assert_array_equal(areas[index], expected)


def _slow_choice(first, second, max_instances, min_pixels):
    shared = []
    for label in set(np.unique(first)) & set(np.unique(second)) - {0}:
        one, other = (first == label).sum(), (second == label).sum()
        if min(one, other) >= min_pixels:
            shared.append((one + other, int(label)))
    return sorted(shared, reverse=True)[:max_instances], len(shared)


@pytest.mark.parametrize("min_pixels", [1, 3])
def test_the_largest_instances_of_both_frames_are_chosen(min_pixels):
    labels = _labels()
    areas = instance_slots.areas(labels)
    chosen = instance_slots.choose(
        areas[:, :-1], areas[:, 1:], max_instances=K, min_pixels=min_pixels
    )
    for b, a in np.ndindex(B, A):
        expected, count = _slow_choice(labels[b, a], labels[b, a + 1], K, min_pixels)
        assert int(chosen.num_candidates[b, a]) == count
        found = [int(label) for label in chosen.labels[b, a]]
        sizes = {label: size for size, label in expected}
        # Ties may fall either way; the sizes may not.
        assert len([label for label in found if label]) == len(expected)
        every = {
            label: (labels[b, a] == label).sum() + (labels[b, a + 1] == label).sum()
            for label in found
            if label
        }
        assert sorted(every.values()) == sorted(sizes.values())
        assert list(every.values()) == sorted(every.values(), reverse=True)


def test_a_fitting_budget_is_enough_for_most_pairs_and_never_beyond_the_slots():
    maps = np.zeros((5, H, W), np.uint8)
    for frame, count in enumerate((1, 3, 3, 2, 4)):
        maps[frame, :count] = np.arange(1, count + 1)[:, None]
    # Pairs share 1, 3, 2 and 2 instances.

    def budget(label_maps=(maps,), max_instances=9, **options):
        return instance_slots.fitting_budget(
            label_maps, max_instances=max_instances, **options
        )

    assert budget() == 3
    assert budget(share=0.5) == 2
    assert budget(max_instances=2) == 2
    assert budget(frame_stride=2, share=0.5) == 2  # of 1, 2 and 3
    assert budget(min_pixels=W + 1) == 1
    assert budget(label_maps=(), max_instances=4) == 4


def test_renaming_ids_renames_the_slots_and_nothing_else():
    labels = np.zeros((2, H, W), np.uint8)
    for label, size in ((3, 2), (200, 4), (17, 3)):
        labels[:, label % 5, :size] = label
    table = np.arange(256, dtype=np.uint8)
    table[[3, 200, 17]] = [201, 1, 90]
    slots = []
    for one in (labels, table[labels]):
        areas = instance_slots.areas(one)
        slots.append(instance_slots.choose(areas[0], areas[1], max_instances=K).labels)
    np.testing.assert_array_equal(slots[0], [200, 17, 3])
    np.testing.assert_array_equal(table[slots[0]], slots[1])
    np.testing.assert_array_equal(
        instance_slots.regions(jnp.asarray(labels), slots[0][None]),
        instance_slots.regions(jnp.asarray(table[labels]), slots[1][None]),
    )


def test_regions_number_the_slots_from_one():
    labels = jnp.asarray(_labels((2, H, W)))
    slots = jnp.array([[17, 3, 0], [200, 17, 3]], jnp.int32)
    regions = jax.jit(instance_slots.regions)(labels, slots)
    for n, y, x in np.ndindex(2, H, W):
        label = int(labels[n, y, x])
        inside = label and label in slots[n].tolist()
        expected = 1 + slots[n].tolist().index(label) if inside else 0
        assert int(regions[n, y, x]) == expected


def _filled(seed=0, share=0.5):
    return np.random.default_rng(seed).random((B, A, K)) < share


def _slow_pack(filled, budget, clips):
    """Returns which slots are kept: the first slots of all pairs, then the second."""
    kept = np.zeros_like(filled)
    for first in range(0, B, clips):
        left = min(budget or K, K) * clips * A
        for k in range(K):
            for b in range(first, first + clips):
                for a in range(A):
                    if filled[b, a, k] and left:
                        kept[b, a, k], left = True, left - 1
    return kept


@pytest.mark.parametrize("clips", [1, 2, 4])
@pytest.mark.parametrize("budget", [0, 1, 2, 7])
def test_packing_keeps_the_largest_that_fit_and_gives_results_back(budget, clips):
    filled = _filled()
    packing = _pack(jnp.asarray(filled), budget=budget, clips_per_pack=clips)
    np.testing.assert_array_equal(packing.kept, _slow_pack(filled, budget, clips))
    places = min(budget or K, K) * A * clips
    assert packing.pair.shape == (B // clips, places)
    assert int(packing.used.sum()) == int(packing.kept.sum())

    # A value for every slot and direction comes back where it was, and only there.
    rng = np.random.default_rng(1)
    values = jnp.asarray(rng.normal(size=(B, 2 * A, K, 2)), jnp.float32)
    packed = jax.jit(instance_slots.gather_slots)(packing, values)
    assert packed.shape == (B // clips * places * 2, 2)
    back = jax.jit(instance_slots.scatter)(packing, packed)
    kept = np.repeat(packing.kept, 2, axis=1)[..., None]
    np.testing.assert_array_equal(back, np.where(kept, values, 0))


def test_a_place_gets_the_images_of_its_pair_in_both_directions():
    filled = _filled(seed=3)
    packing = _pack(jnp.asarray(filled), budget=2, clips_per_pack=2)
    number = jnp.arange(B * 2 * A).reshape(B, 2 * A)
    images = jnp.broadcast_to(number[..., None, None], (B, 2 * A, H, W))
    by_pair = instance_slots.gather_pairs(packing, images)[:, 0, 0]
    slots = jnp.broadcast_to(number[..., None], (B, 2 * A, K))
    by_slot = instance_slots.gather_slots(packing, slots)
    np.testing.assert_array_equal(by_pair, by_slot)
    # Neighbours are the two directions of one adjacent pair.
    np.testing.assert_array_equal(by_pair[0::2] + 1, by_pair[1::2])
    assert not np.any(by_pair[0::2] % 2)


def test_padding_and_what_is_left_out_have_no_gradient():
    filled = jnp.asarray(_filled(share=0.9))
    packing = _pack(filled, budget=2)

    def total(packed):
        return jnp.sum(instance_slots.scatter(packing, packed))

    gradient = jax.grad(total)(jnp.ones((packing.used.size * 2, 3)))
    used = jnp.repeat(packing.used.reshape(-1), 2)
    np.testing.assert_array_equal(
        gradient, jnp.broadcast_to(used[:, None], gradient.shape)
    )


def test_a_pack_depends_on_no_clip_outside_it():
    filled = _filled()
    other = filled.copy()
    other[2:] = ~other[2:]
    first, second = (
        _pack(jnp.asarray(x), budget=1, clips_per_pack=2) for x in (filled, other)
    )
    np.testing.assert_array_equal(first.kept[:2], second.kept[:2])
    np.testing.assert_array_equal(first.pair[0], second.pair[0])


def test_a_batch_that_fills_no_pack_makes_smaller_ones():
    packing = _pack(jnp.ones((3, A, K), bool), budget=0, clips_per_pack=2)
    assert packing.pair.shape == (3, A * K)
    assert packing.kept.all()
