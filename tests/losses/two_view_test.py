import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm_jax.losses import two_view

# Compiled: on values this small, one compilation costs less than one per operation.
triangulation = jax.jit(two_view.triangulation)
egomotion_prior = jax.jit(two_view.egomotion_prior)
baseline = jax.jit(two_view.baseline)
flow_loss = jax.jit(two_view.flow)

M, H, W = 2, 5, 7


def _uniform(seed, low, high, shape=(M, H, W)):
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


def _weight(seed):
    weight = _uniform(seed, 0, 1)
    weight[weight < 0.3] = 0
    return weight


def _rotation(angle, axis=1):
    cosine, sine = np.cos(angle), np.sin(angle)
    one, other = [i for i in range(3) if i != axis]
    matrix = np.eye(3, dtype=np.float32)
    matrix[one, one] = matrix[other, other] = cosine
    matrix[one, other], matrix[other, one] = -sine, sine
    return np.stack([matrix, np.eye(3, dtype=np.float32)])


def test_triangulation_is_zero_at_the_truth_of_any_scale():
    depth, weight = _uniform(0, 1, 9), _weight(1)
    for scale in (0.1, 1, 30):
        assert triangulation(scale * depth, 1 / depth, weight) < 1e-5


def test_triangulation_does_not_depend_on_either_scale():
    depth, inverse, weight = _uniform(0, 1, 9), _uniform(1, 0.1, 1), _weight(2)
    want = float(triangulation(depth, inverse, weight))
    scales = np.array([[[3.0]], [[0.2]]], np.float32)
    assert want > 0.1
    assert triangulation(scales * depth, inverse, weight) == pytest.approx(
        want, rel=1e-4
    )
    assert triangulation(depth, scales * inverse, weight) == pytest.approx(
        want, rel=1e-4
    )


def test_triangulation_agrees_with_a_loop():
    depth, inverse, weight = _uniform(3, 1, 9), _uniform(4, 0.1, 1), _weight(5)
    want = []
    for d, z, w in zip(*(np.float64(x) for x in (depth, inverse, weight))):
        r = np.log(d) + np.log(z)
        order = np.argsort(r[w > 0])
        half = np.cumsum(w[w > 0][order]) >= w.sum() / 2
        r = r - r[w > 0][order][np.argmax(half)]
        total = sum(w[p] * abs(r[p]) for p in np.ndindex(H, W))
        for y, x in np.ndindex(H, W):
            for v, u in ((y + 1, x), (y, x + 1)):
                if v < H and u < W:
                    total += 0.5 * min(w[y, x], w[v, u]) * abs(r[y, x] - r[v, u])
        want.append(total / w.sum())
    got = triangulation(depth, inverse, weight)
    assert got == pytest.approx(np.mean(want), rel=1e-4)


def test_pairs_without_trust_do_not_count():
    depth, inverse, weight = _uniform(6, 1, 9), _uniform(7, 0.1, 1), _weight(8)
    alone = triangulation(depth[:1], inverse[:1], weight[:1])
    weight[1] = 0
    assert triangulation(depth, inverse, weight) == pytest.approx(float(alone))


def test_without_any_trust_values_and_gradients_are_zero():
    depth, nothing = _uniform(9, 1, 9), jnp.zeros((M, H, W), np.float32)
    for loss in (
        lambda d: two_view.triangulation(d, nothing, nothing),
        lambda d: two_view.flow(
            jnp.stack([d, d], axis=-1),
            jnp.full((M, H, W, 2), jnp.nan),
            jnp.zeros((M, H, W), bool),
        ),
    ):
        value, gradient = jax.jit(jax.value_and_grad(loss))(depth)
        assert value == 0
        assert not np.any(gradient)
    assert not np.any(baseline(depth, nothing, nothing))


def test_only_trusted_pixels_feel_triangulation():
    depth, inverse, weight = _uniform(10, 1, 9), _uniform(11, 0.1, 1), _weight(12)
    gradient = jax.jit(jax.grad(two_view.triangulation))(depth, inverse, weight)
    assert np.all(np.isfinite(gradient))
    assert not np.any(gradient[weight == 0])
    assert np.mean(gradient[weight > 0] != 0) > 0.9


def test_the_baseline_is_the_scale_of_depth_in_baselines():
    depth, weight = _uniform(13, 1, 9), jnp.asarray(_weight(14))
    np.testing.assert_allclose(baseline(depth, 0.4 / depth, weight), 0.4, rtol=1e-5)
    assert not np.any(
        jax.grad(lambda d: jnp.sum(two_view.baseline(d, 1 / d, weight)))(depth)
    )


def test_egomotion_prior_is_zero_at_the_prior():
    rotation, direction = _rotation(0.1), np.array([[0, 0.6, 0.8], [1, 0, 0]])
    length = np.array([2.0, 0.3], np.float32)
    translation = (length[:, None] * direction).astype(np.float32)
    got = egomotion_prior(rotation, translation, rotation, direction, length)
    assert got == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("angle", [0.01, 0.3, 1.0])
def test_egomotion_prior_measures_the_chord_of_each_angle_and_the_log_of_length(angle):
    direction = np.array([[0, 0, 1.0], [0, 0, 1.0]], np.float32)
    identity, ones = _rotation(0), np.ones(2, np.float32)
    chord = 2 * np.sin(angle / 2)
    turned = egomotion_prior(_rotation(angle), direction, identity, direction, ones)
    # One of the two pairs is turned.
    assert turned == pytest.approx(10 * chord / 2, rel=1e-4)
    other = direction @ _rotation(angle)[0].T
    led = egomotion_prior(identity, other, identity, direction, ones)
    assert led == pytest.approx(chord, rel=1e-4)
    longer = egomotion_prior(
        identity, np.exp(angle) * direction, identity, direction, ones
    )
    assert longer == pytest.approx(angle, rel=1e-4)


def test_unknown_egomotion_does_not_count_and_gradients_are_finite():
    unknown, zeros = np.zeros((M, 3, 3), np.float32), np.zeros((M, 3), np.float32)
    lengths, loss = np.zeros(M, np.float32), two_view.egomotion_prior
    gradients = jax.jit(jax.grad(loss, argnums=(0, 1)))
    assert egomotion_prior(_rotation(0.2), zeros + 1, unknown, zeros, lengths) == 0
    for rotation, translation, prior, direction, length in (
        (_rotation(0), zeros, unknown, zeros, lengths),
        # At the prior itself, and at no translation where one is known.
        (_rotation(0), zeros, _rotation(0), zeros + np.eye(3)[:1], lengths + 1),
        (_rotation(0), zeros + np.eye(3)[2:], _rotation(0), zeros, lengths + 1),
    ):
        for gradient in gradients(
            rotation,
            translation.astype(np.float32),
            prior,
            direction.astype(np.float32),
            length,
        ):
            assert np.all(np.isfinite(gradient))


def test_flow_is_zero_at_the_truth_and_reaches_over_any_distance():
    given = _uniform(15, -20, 20, (M, H, W, 2))
    trusted = _weight(16) > 0
    assert flow_loss(given, given, trusted) == 0
    gradient = jax.jit(jax.grad(two_view.flow))
    near = gradient(given + 0.1, given, trusted)
    far = gradient(given + 50, given, trusted)
    np.testing.assert_allclose(near, far, rtol=1e-2, atol=1e-7)
    assert not np.any(near[~trusted])


def test_gradients_agree_with_finite_differences(check_gradient):
    given, trusted = jnp.asarray(_uniform(18, -5, 5, (M, 3, 4, 2))), jnp.ones((M, 3, 4))
    prior, direction = _rotation(0.2), [[0, 0, 1.0], [0.6, 0, 0.8]]

    def loss(rotation, translation, induced):
        return two_view.egomotion_prior(
            rotation,
            translation,
            jnp.asarray(prior),
            jnp.asarray(direction),
            jnp.asarray([0.5, 2.0]),
        ) + two_view.flow(induced, given, trusted > 0)

    check_gradient(
        loss,
        _rotation(0.1),
        _uniform(20, 0.5, 2, (M, 3)),
        _uniform(21, -5, 5, (M, 3, 4, 2)),
    )
