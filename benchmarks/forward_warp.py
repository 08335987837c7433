"""Time of forward warping, compared with the same operation in PyTorch.

    python benchmarks/forward_warp.py [--output=benchmarks/results/NAME.json]

Both compute the same numbers from the same inputs (the result says how well they agree),
on all cores of the CPU, or on a GPU if both support it. Calls alternate, so that other
load on the machine slows both alike. The peer (extra `bench`) is eager PyTorch with
`scatter_reduce` for the z-buffer and `grid_sample` for the colours. Backward means the
gradient with respect to depth, rotation and translation.
"""

from __future__ import annotations

import json
import pathlib
import platform
import sys
import time

from absl import app, flags

_OUTPUT = flags.DEFINE_string("output", "", "JSON file for the results.")
_ROUNDS = flags.DEFINE_integer("rounds", 20, "Timed calls of each function.")
_SIZE = flags.DEFINE_string("size", "256x832", "HEIGHTxWIDTH of the images.")
_BATCH = flags.DEFINE_integer("batch", 4, "Images per call.")
_ALPHA = flags.DEFINE_integer("alpha", 2, "Factor by which depth is upsampled.")

ROOT = pathlib.Path(__file__).resolve().parents[1]


def make_inputs(batch: int, height: int, width: int):
    """Returns arrays of a road, seen from a car that drives one metre per frame."""
    import numpy as np

    rng = np.random.default_rng(0)
    focal = 0.8 * width
    y, x = np.mgrid[:height, :width]
    road = 1.5 * focal / np.maximum(y - height / 2 + 0.5, 1)
    depth = np.minimum(road, 40) * (1 + 0.1 * np.sin(x / 30))
    noise = rng.uniform(0.98, 1.02, (batch, height, width))
    K = [[focal, 0, width / 2 - 0.5], [0, focal, height / 2 - 0.5], [0, 0, 1]]
    cos, sin = np.cos(0.02), np.sin(0.02)
    arrays = {
        "image": rng.uniform(size=(batch, height, width, 3)),
        "depth": depth * noise,
        "rotation": np.tile([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]], (batch, 1, 1)),
        "translation": np.tile([0.05, 0.02, -1.0], (batch, 1)),
        "K": np.tile(K, (batch, 1, 1)),
        "image_weight": rng.normal(size=(batch, height, width, 3)),
        "depth_weight": 0.1 * rng.normal(size=(batch, height, width)),
    }
    return {name: value.astype(np.float32) for name, value in arrays.items()}


def make_ours(arrays, alpha: int, *, refine: bool = False):
    """Returns two functions without arguments: forward; forward and backward."""
    import jax
    import jax.numpy as jnp

    from mdm_jax.geometry import warp
    from mdm_jax.structs import Pose

    def warp_all(moving, fixed):
        def one(image, K, depth, rotation, translation):
            target_from_source = Pose(rotation=rotation, translation=translation)
            return warp.forward_warp(
                image, depth, target_from_source, K, alpha=alpha, refine=refine
            )

        return jax.vmap(one)(fixed["image"], fixed["K"], *moving)

    def loss(moving, fixed):
        warped = warp_all(moving, fixed)
        total = jnp.sum(warped.image * fixed["image_weight"])
        return total + jnp.sum(warped.depth * fixed["depth_weight"]), warped

    fixed = jax.device_put(arrays)
    moving = tuple(fixed[name] for name in ("depth", "rotation", "translation"))
    forward = jax.jit(warp_all).lower(moving, fixed).compile()
    backward = jax.jit(jax.value_and_grad(loss, has_aux=True))
    backward = backward.lower(moving, fixed).compile()
    return (
        lambda: jax.block_until_ready(forward(moving, fixed)),
        lambda: jax.block_until_ready(backward(moving, fixed)),
    )


def torch_forward_warp(image, K, depth, rotation, translation, *, alpha: int):
    """The peer: images `[b 3 h w]`, depth `[b h w]`; returns image and depth."""
    import torch  # pyright: ignore[reportMissingImports]
    import torch.nn.functional as F  # pyright: ignore[reportMissingImports]

    batch, height, width = depth.shape

    def unproject(depth, K):
        _, rows, columns = depth.shape
        y, x = torch.meshgrid(
            torch.arange(rows, dtype=depth.dtype, device=depth.device),
            torch.arange(columns, dtype=depth.dtype, device=depth.device),
            indexing="ij",
        )
        focal, centre = K[:, [0, 1], [0, 1]], K[:, :2, 2]
        x = (x[None] - centre[:, 0, None, None]) / focal[:, 0, None, None] * depth
        y = (y[None] - centre[:, 1, None, None]) / focal[:, 1, None, None] * depth
        return torch.stack([x, y, depth], dim=1).reshape(batch, 3, -1)

    def project(points, K):
        z = points[:, 2]
        in_front = z > 1e-4
        inverse = 1 / torch.where(in_front, z, 1.0)
        u = K[:, 0, 0, None] * points[:, 0] * inverse + K[:, 0, 2, None]
        v = K[:, 1, 1, None] * points[:, 1] * inverse + K[:, 1, 2, None]
        return u, v, z, in_front

    fine = depth.repeat_interleave(alpha, dim=1).repeat_interleave(alpha, dim=2)
    K_fine = K.clone()
    K_fine[:, :2] *= alpha
    K_fine[:, :2, 2] = alpha * (K[:, :2, 2] + 0.5) - 0.5
    points = rotation @ unproject(fine, K_fine) + translation[:, :, None]
    z = points[:, 2]
    with torch.no_grad():  # The coordinates are rounded: no gradient.
        u, v, _, in_front = project(points, K)
        u, v = torch.floor(u + 0.5), torch.floor(v + 0.5)
        kept = in_front & (u >= 0) & (u < width) & (v >= 0) & (v < height)
        cell = torch.where(kept, v * width + u, float(height * width)).long()
    empty = torch.full((batch, height * width + 1), torch.inf, device=depth.device)
    splatted = empty.scatter_reduce(1, cell, z, "amin")[:, :-1]
    covered = torch.isfinite(splatted)
    splatted = torch.where(covered, splatted, 0.0).reshape(batch, height, width)
    moved = unproject(splatted, K) - translation[:, :, None]
    u, v, _, _ = project(rotation.transpose(1, 2) @ moved, K)
    grid = torch.stack([2 * u / (width - 1) - 1, 2 * v / (height - 1) - 1], dim=-1)
    warped = F.grid_sample(
        image,
        grid.reshape(batch, height, width, 2),
        padding_mode="border",
        align_corners=True,
    )
    return warped * covered.reshape(batch, 1, height, width), splatted


def make_peer(arrays, alpha: int, device: str):
    """Returns two functions without arguments: forward; forward and backward."""
    import torch  # pyright: ignore[reportMissingImports]

    tensors = {name: torch.tensor(a, device=device) for name, a in arrays.items()}
    image = tensors["image"].permute(0, 3, 1, 2).contiguous()
    image_weight = tensors["image_weight"].permute(0, 3, 1, 2).contiguous()
    moving = [tensors[name] for name in ("depth", "rotation", "translation")]

    def wait():
        if device == "cuda":
            torch.cuda.synchronize()

    def forward():
        with torch.no_grad():
            result = torch_forward_warp(image, tensors["K"], *moving, alpha=alpha)
        wait()
        return result

    def backward():
        leaves = [tensor.clone().requires_grad_() for tensor in moving]
        warped, depth = torch_forward_warp(image, tensors["K"], *leaves, alpha=alpha)
        loss = (warped * image_weight).sum() + (depth * tensors["depth_weight"]).sum()
        loss.backward()
        wait()
        return (loss, (warped, depth)), [leaf.grad for leaf in leaves]

    return forward, backward


def compare(ours, peer) -> dict[str, float]:
    """Returns how well the results of two (forward and backward) calls agree."""
    import numpy as np

    (_, warped), gradients = ours
    (_, (peer_image, peer_depth)), peer_gradients = peer

    def array(tensor):
        return tensor.detach().cpu().numpy()

    def close(a, b, tolerance):
        return float(np.mean(np.abs(np.asarray(a) - b) <= tolerance))

    def correlation(a, b):
        return float(np.corrcoef(np.ravel(a), np.ravel(b))[0, 1])

    return {
        # Rounding moves a few points in 10^5 to the neighbouring pixel.
        "share_of_equal_depths": close(warped.depth, array(peer_depth), 1e-3),
        "share_of_equal_colours": close(
            warped.image, array(peer_image).transpose(0, 2, 3, 1), 1e-2
        ),
        "correlation_of_depth_gradients": correlation(
            gradients[0], array(peer_gradients[0])
        ),
        "correlation_of_translation_gradients": correlation(
            gradients[2], array(peer_gradients[2])
        ),
    }


def time_calls(cases: dict[str, tuple], rounds: int) -> dict[str, list[list[float]]]:
    """Returns milliseconds (ours, peer) of each round, after one untimed call of each."""
    for pair in cases.values():
        for function in pair:
            function()
    times = {name: [] for name in cases}
    for _ in range(rounds):
        for name, functions in cases.items():
            pair = []
            for function in functions:
                started = time.perf_counter()
                function()
                pair.append(1e3 * (time.perf_counter() - started))
            times[name].append(pair)
    return times


def summarize(times: dict[str, list[list[float]]]) -> list[dict[str, object]]:
    """Returns medians, minima and the median ratio of each case."""
    import numpy as np

    results = []
    for name, pairs in times.items():
        median, fastest = np.median(pairs, axis=0), np.min(pairs, axis=0)
        results.append(
            {
                "case": name,
                "milliseconds": float(median[0]),
                "milliseconds_torch": float(median[1]),
                "milliseconds_min": float(fastest[0]),
                "milliseconds_min_torch": float(fastest[1]),
                "ratio": float(np.median([a / b for a, b in pairs])),
            }
        )
    return results


def main(argv: list[str]):
    del argv
    sys.path.insert(0, str(ROOT))
    import jax

    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise SystemExit("the peer needs PyTorch: pip install -e '.[bench]'") from error
    from mdm_jax import settings
    from mdm_jax.training import reporting

    both_on_gpu = jax.default_backend() == "gpu" and torch.cuda.is_available()
    if jax.default_backend() != "cpu" and not both_on_gpu:
        raise SystemExit(
            f"JAX runs on {jax.default_backend()} but PyTorch does not: set "
            "JAX_PLATFORMS=cpu, or install PyTorch for this device"
        )
    batch, alpha = _BATCH.value, _ALPHA.value
    arrays = make_inputs(batch, *settings.parse_size(_SIZE.value))
    ours = make_ours(arrays, alpha)
    refined = make_ours(arrays, alpha, refine=True)
    peer = make_peer(arrays, alpha, "cuda" if both_on_gpu else "cpu")
    agreement = compare(ours[1](), peer[1]())
    cases = {
        "forward": (ours[0], peer[0]),
        "forward and backward": (ours[1], peer[1]),
        # The peer has no refinement.
        "forward, refined": (refined[0], peer[0]),
        "forward and backward, refined": (refined[1], peer[1]),
    }
    results = summarize(time_calls(cases, _ROUNDS.value))
    device = jax.devices()[0].device_kind
    if device == "cpu":
        device = f"cpu ({platform.machine()}, {torch.get_num_threads()} threads)"
    table = [["case", "ours [ms]", "PyTorch [ms]", "ratio"]]
    for result in results:
        keys = ("milliseconds", "milliseconds_torch", "ratio")
        table.append([str(result["case"]), *(f"{result[key]:.3g}" for key in keys)])
    title = (
        f"forward warp of {batch} images of {_SIZE.value}, alpha {alpha}, on {device}"
    )
    print(reporting.format_table(title, table))
    print(json.dumps(agreement))
    if _OUTPUT.value:
        report = {
            "environment": {
                "device": device,
                "jax": jax.__version__,
                "torch": torch.__version__,
                "python": platform.python_version(),
            },
            "size": _SIZE.value,
            "batch": batch,
            "alpha": alpha,
            "rounds": _ROUNDS.value,
            "agreement": agreement,
            "results": results,
        }
        path = pathlib.Path(_OUTPUT.value)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    app.run(main)
