import jax
import numpy as np
import pytest


@pytest.fixture
def check_gradient():
    """Compares a loss's gradient with central differences in float64."""

    def check(loss, *arguments, step=1e-6):
        rng = np.random.default_rng(0)
        with jax.enable_x64(True):
            arguments = [np.asarray(a, np.float64) for a in arguments]
            every = tuple(range(len(arguments)))
            evaluate = jax.jit(jax.value_and_grad(loss, argnums=every))
            _, gradients = evaluate(*arguments)
            # One direction per argument, so that a wrong one is seen by itself.
            for moved, gradient in enumerate(gradients):
                direction = rng.normal(size=gradient.shape)
                values = []
                for sign in (1, -1):
                    there = list(arguments)
                    there[moved] = there[moved] + sign * step * direction
                    values.append(float(evaluate(*there)[0]))
                want = (values[0] - values[1]) / (2 * step)
                got = np.sum(np.asarray(gradient) * direction)
                assert got == pytest.approx(want, rel=1e-5, abs=1e-8), moved

    return check
