"""Time of the depth of one image, compared with the same network in PyTorch.

    python benchmarks/inference.py [--output=benchmarks/results/NAME.json]

Both networks have the same weights and give the same depth; the largest relative
difference is part of the result. Calls alternate, so that other load on the machine
slows both alike. The result holds medians, their ratio, and the ratio of the fastest
calls, which other load disturbs least. On a busy machine waiting threads distort both:
`taskset -c 0 python benchmarks/inference.py --threads=1` compares the processor time on
one core. The peer (extra `bench`) runs in PyTorch's inference mode in both memory
layouts; the faster one counts.
"""

from __future__ import annotations

import json
import os
import pathlib
import platform
import sys
import time
from collections.abc import Callable

from absl import app, flags

_OUTPUT = flags.DEFINE_string("output", "", "JSON file for the results.")
_ROUNDS = flags.DEFINE_integer("rounds", 30, "Timed calls of each.")
_SIZE = flags.DEFINE_string("size", "192x640", "HEIGHTxWIDTH, multiples of 32.")
_THREADS = flags.DEFINE_integer("threads", 2, "CPU threads that PyTorch uses.")

ROOT = pathlib.Path(__file__).resolve().parents[1]
_STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))
_DECODER = (256, 128, 64, 32, 16)


def make_ours(image) -> tuple[Callable, dict]:
    """Returns a function that gives depth `[1 h w]`, and the parameters."""
    import jax

    from mdm_jax.networks import depth_net

    module = depth_net.DepthNet()
    variables = jax.jit(module.init)(jax.random.key(0), image)
    compiled = jax.jit(module.apply).lower(variables, image).compile()
    return lambda: jax.block_until_ready(compiled(variables, image)), variables[
        "params"
    ]


def make_peer(image, parameters, *, channels_last: bool) -> Callable:
    """Returns a function that gives depth `[1 h w]`, for sides that are multiples of 32."""
    import torch  # pyright: ignore[reportMissingImports]
    import torch.nn.functional as F  # pyright: ignore[reportMissingImports]

    layout = torch.channels_last if channels_last else torch.contiguous_format
    stem, stem_norm, blocks, decoder, head = _read_weights(parameters, layout)
    x0 = torch.tensor(image).permute(0, 3, 1, 2).contiguous(memory_format=layout)

    def normalized(x, weights):
        return F.instance_norm(x, None, None, *weights, eps=1e-3)

    def reflected(x, weight, bias):
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), weight, bias)

    def forward():
        x = F.conv2d(x0 * 2 - 1, stem, stride=2, padding=3)
        x = F.relu(normalized(x, stem_norm))
        skips = [x]
        x = F.max_pool2d(x, 3, 2, 1)
        for number, (stride, w1, n1, w2, n2, shortcut) in enumerate(blocks):
            y = F.relu(normalized(F.conv2d(x, w1, stride=stride, padding=1), n1))
            y = normalized(F.conv2d(y, w2, padding=1), n2)
            if shortcut is not None:
                x = F.conv2d(x, shortcut, stride=stride)
            x = F.relu(x + y)
            if number % 2:
                skips.append(x)
        x = skips.pop()
        for weight, bias, merge, merge_bias in decoder:
            height, width = x.shape[2:]
            x = F.conv_transpose2d(x, weight, bias, stride=2)
            x = F.relu(x[:, :, : 2 * height, : 2 * width])
            if skips:
                x = torch.cat([x, skips.pop()], dim=1)
            x = F.relu(reflected(x, merge, merge_bias))
        return F.softplus(reflected(x, *head))[:, 0] + 1e-3

    def call():
        with torch.inference_mode():
            return forward()

    return call


def _read_weights(parameters, layout):
    """Returns PyTorch's weights of stem, its norm, residual blocks, decoder and head."""
    import numpy as np
    import torch  # pyright: ignore[reportMissingImports]

    def tensor(array):
        return torch.tensor(np.array(array))

    def kernel(module):
        weight = tensor(module["kernel"]).permute(3, 2, 0, 1)
        return weight.contiguous(memory_format=layout)

    def norm(module):
        return tensor(module["scale"]), tensor(module["offset"])

    encoder = parameters["encoder"]
    blocks = []
    for stage, (_, first_stride) in enumerate(_STAGES):
        for index in range(2):
            block = encoder[f"stage{stage + 1}_block{index + 1}"]
            blocks.append(
                (
                    first_stride if index == 0 else 1,
                    kernel(block["conv1"]),
                    norm(block["norm1"]),
                    kernel(block["conv2"]),
                    norm(block["norm2"]),
                    kernel(block["shortcut"]) if "shortcut" in block else None,
                )
            )
    decoder = []
    for level in range(len(_DECODER), 0, -1):
        up, merge = parameters[f"up{level}"], parameters[f"merge{level}"]
        # PyTorch stores the kernel of a transposed convolution rotated by 180 degrees.
        weight = tensor(np.array(up["kernel"])[::-1, ::-1].copy()).permute(2, 3, 0, 1)
        decoder.append(
            (
                weight.contiguous(memory_format=layout),
                tensor(up["bias"]),
                kernel(merge),
                tensor(merge["bias"]),
            )
        )
    head = kernel(parameters["head"]), tensor(parameters["head"]["bias"])
    stem, stem_norm = kernel(encoder["stem_conv"]), norm(encoder["stem_norm"])
    return stem, stem_norm, blocks, decoder, head


def alternate(
    functions: dict[str, Callable], rounds: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Returns the milliseconds of every call, as wall time and as processor time."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    work: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            started, worked = time.perf_counter(), time.process_time()
            function()
            times[name].append(1e3 * (time.perf_counter() - started))
            work[name].append(1e3 * (time.process_time() - worked))
    return times, work


def main(argv: list[str]):
    del argv
    sys.path.insert(0, str(ROOT))
    import jax
    import numpy as np

    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise SystemExit("the peer needs PyTorch: pip install -e '.[bench]'") from error
    if jax.default_backend() != "cpu":
        raise SystemExit("this compares CPUs: set JAX_PLATFORMS=cpu")
    torch.set_num_threads(_THREADS.value)
    from mdm_jax import settings

    height, width = settings.parse_size(_SIZE.value)
    if height % 32 or width % 32:
        raise SystemExit(f"--size expects multiples of 32, got {height}x{width}")
    rng = np.random.default_rng(0)
    image = rng.uniform(size=(1, height, width, 3)).astype(np.float32)
    ours, parameters = make_ours(image)
    functions = {"mdm_jax": ours}
    for name, channels_last in (("channels first", False), ("channels last", True)):
        functions[f"PyTorch, {name}"] = make_peer(
            image, parameters, channels_last=channels_last
        )
    depth = np.asarray(ours())
    difference = max(
        float(np.max(np.abs(function().numpy() / depth - 1)))
        for name, function in functions.items()
        if name != "mdm_jax"
    )
    alternate(functions, 3)
    times, work = alternate(functions, _ROUNDS.value)
    processor = {name: float(np.median(values)) for name, values in work.items()}
    medians = {name: float(np.median(values)) for name, values in times.items()}
    fastest = {name: float(np.min(values)) for name, values in times.items()}
    result = {
        "size": [height, width],
        "median_milliseconds": medians,
        "fastest_milliseconds": fastest,
        "median_processor_milliseconds": processor,
        "ratio_of_medians": _ratio(medians),
        "ratio_of_fastest": _ratio(fastest),
        "ratio_of_processor_times": _ratio(processor),
        "largest_relative_difference_of_depth": difference,
        "rounds": _ROUNDS.value,
        "threads_of_peer": _THREADS.value,
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "environment": {
            "jax": jax.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "machine": platform.machine(),
        },
    }
    print(json.dumps(result, indent=2))
    if _OUTPUT.value:
        path = pathlib.Path(_OUTPUT.value)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=2) + "\n")


def _ratio(times: dict[str, float]) -> float:
    """Returns our time over that of the faster peer: below 1 where ours is faster."""
    peers = [value for name, value in times.items() if name != "mdm_jax"]
    return times["mdm_jax"] / min(peers)


if __name__ == "__main__":
    app.run(main)
