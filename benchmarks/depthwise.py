"""Forms of a depthwise convolution: compile time, forward and backward, on one device.

    python benchmarks/depthwise.py [--output=benchmarks/results/NAME.json]

The layers are those of EfficientNet-Lite0 at 128x416 with 8 images. `grouped` is XLA's
grouped convolution, `stacked` one product over a stacked axis of patches, `shifted` a sum
of shifted products with JAX's own gradient, and `package` what the networks use. Times
are seconds of the processor on a CPU, so that other processes do not count, and of the
clock elsewhere: the least of the repetitions. Each layer stands between activations,
whose recomputation would otherwise go unnoticed.
"""

from __future__ import annotations

import functools
import json
import pathlib
import platform
import sys
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
from absl import app, flags

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from mdm_jax.networks import depthwise

_OUTPUT = flags.DEFINE_string("output", "", "JSON file for the results.")
_REPEATS = flags.DEFINE_integer("repeats", 3, "Timed calls of each program.")

_IMAGES = 8
# Height, width, channels, kernel size and stride.
LAYERS = (
    (64, 208, 32, 3, 1),
    (64, 208, 96, 3, 2),
    (32, 104, 144, 5, 2),
    (16, 52, 240, 5, 1),
    (8, 26, 672, 5, 1),
    (4, 13, 1152, 5, 1),
)


def _taps(x: jax.Array, size: int, stride: int) -> list[jax.Array]:
    """Returns x as each tap of a kernel sees it."""
    height, width = (-(-n // stride) for n in x.shape[1:3])
    border = [
        (before, after + stride - 1)
        for before, after in (
            depthwise.same_padding(n, size, stride) for n in x.shape[1:3]
        )
    ]
    x = jnp.pad(x, [(0, 0), *border, (0, 0)])
    return [
        x[:, i : i + height * stride : stride, j : j + width * stride : stride]
        for i in range(size)
        for j in range(size)
    ]


def stacked(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Returns one product over a stacked axis of patches."""
    size, _, channels = kernel.shape
    patches = jnp.stack(_taps(x, size, stride))
    return jnp.einsum("tbhwc,tc->bhwc", patches, kernel.reshape(-1, channels))


def shifted(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Returns a sum of shifted products, differentiated by JAX."""
    size, _, channels = kernel.shape
    flat = kernel.reshape(-1, channels)
    products = [t * k for t, k in zip(_taps(x, size, stride), flat, strict=True)]
    return functools.reduce(jnp.add, products)


FORMS = {
    "grouped": depthwise.grouped,
    "stacked": stacked,
    "shifted": shifted,
    "package": depthwise.convolve,
}


def _activated(form: Callable, stride: int, x: jax.Array, kernel: jax.Array):
    y = form(jnp.clip(1.1 * x + 0.1, 0, 6), kernel, stride)
    return jnp.clip(1.1 * y + 0.1, 0, 6)


def _clock() -> float:
    on_cpu = jax.default_backend() == "cpu"
    return time.process_time() if on_cpu else time.perf_counter()


def _measure(function: Callable, *arguments) -> tuple[float, float]:
    """Returns seconds of compilation and of a call."""
    start = _clock()
    compiled = jax.jit(function).lower(*arguments).compile()
    compile_seconds = _clock() - start
    jax.block_until_ready(compiled(*arguments))
    times = []
    for _ in range(_REPEATS.value):
        start = _clock()
        jax.block_until_ready(compiled(*arguments))
        times.append(_clock() - start)
    return compile_seconds, min(times)


def measure_layer(layer: tuple[int, ...], name: str) -> dict[str, object]:
    """Returns the figures of one form of one layer."""
    height, width, channels, size, stride = layer
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (_IMAGES, height, width, channels))
    kernel = jax.random.normal(keys[1], (size, size, channels)) / size
    forward = functools.partial(_activated, FORMS[name], stride)
    dy = jax.random.normal(keys[2], jax.eval_shape(forward, x, kernel).shape)

    def both(x, kernel, dy):
        y, pull = jax.vjp(forward, x, kernel)
        return y, pull(dy)

    compile_forward, seconds_forward = _measure(forward, x, kernel)
    compile_both, seconds_both = _measure(both, x, kernel, dy)
    return {
        "layer": "{}x{}x{}, kernel {}, stride {}".format(*layer),
        "form": name,
        "forward_ms": round(1e3 * seconds_forward, 2),
        "forward_and_backward_ms": round(1e3 * seconds_both, 2),
        "compile_forward_s": round(compile_forward, 2),
        "compile_forward_and_backward_s": round(compile_both, 2),
    }


def main(argv: list[str]):
    del argv
    device = jax.devices()[0].device_kind
    results = {
        "device": f"{device} ({platform.machine()})",
        "jax": jax.__version__,
        "images": _IMAGES,
        "command": "python benchmarks/depthwise.py",
    }
    layers = []
    for layer in LAYERS:
        for name in FORMS:
            figures = measure_layer(layer, name)
            layers.append(figures)
            print(json.dumps(figures), flush=True)
            if _OUTPUT.value:
                path = pathlib.Path(_OUTPUT.value)
                path.write_text(
                    json.dumps({**results, "layers": layers}, indent=2) + "\n"
                )


if __name__ == "__main__":
    app.run(main)
