"""Compile time, step time and memory of the training step on this device.

    python benchmarks/train_step.py [--output=benchmarks/results/NAME.json]

Each case runs twice in a new process: with an empty compilation cache (cold), and with
the cache of the first run (warm). Times include device and host, after two untimed
steps; frames are random, which does not affect the time. Peak memory is that of the
device or, on a CPU, of the whole process with its compiler; the temporaries of the
compiled step are reported separately. The committed results use the `GLIBC_TUNABLES` of
the Makefile; set it here as well. The file is written after every case; its other cases
are kept.
"""

from __future__ import annotations

import json
import os
import pathlib
import platform
import resource
import sys
import tempfile
import time

import fresh_process
from absl import app, flags

_OUTPUT = flags.DEFINE_string("output", "", "JSON file for the results.")
_CASES = flags.DEFINE_list("cases", [], "Names of the cases; empty for all.")
_STEPS = flags.DEFINE_integer("steps", 10, "Timed steps of each case.")

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAPER = {
    "optimizer.name": "adam",
    "dataset.size": (128, 416),
    "networks.width_multiplier": 1.0,
    "networks.motion_width_multiplier": 1.0,
}
# Lee et al. 2019: the object net sees whole images.
INSTANCE_PAPER = {
    "method": "instance_motion",
    "optimizer.name": "adam",
    "dataset.size": (256, 832),
    "dataset.clip_length": 3,
    "networks.width_multiplier": 1.0,
    "networks.motion_width_multiplier": 1.0,
    "instance_motion.ego_pose": "conv",
    "instance_motion.object_zoom": 0,
    "train.batch_size": 4,
}
# Overrides of configs/synthetic.py; `method` is one of its variants.
CASES = {
    "demo": {},
    "demo on two CPU devices": {"train.cpu_devices": 2},
    "paper size with correlation net and batch 4": {**PAPER, "train.batch_size": 4},
    "paper size with paper net and batch 4": {
        **PAPER,
        "motion_field.motion_net": "paper",
        "train.batch_size": 4,
    },
    "paper size with paper net and batch 16": {
        **PAPER,
        "motion_field.motion_net": "paper",
        "train.batch_size": 16,
    },
    "instance_motion demo": {"method": "instance_motion"},
    "instance_motion paper size with batch 4": INSTANCE_PAPER,
    "instance_motion paper size with batch 4 and 2 of 8 slots": {
        **INSTANCE_PAPER,
        "instance_motion.instance_budget": 2,
    },
    "instance_motion paper size with batch 4 and objects zoomed": {
        **INSTANCE_PAPER,
        "instance_motion.object_zoom": 64,
    },
}


def make_arrays(config) -> dict:
    """Returns a random batch; with eight instances per frame if the method needs them."""
    import numpy as np

    (height, width), batch = config.dataset.size, config.train.batch_size
    rng = np.random.default_rng(0)
    focal = 0.8 * width
    intrinsics = [[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]]
    clips = (batch, config.dataset.clip_length, height, width)
    arrays = {
        "frames": rng.integers(0, 256, (*clips, 3), np.uint8),
        "intrinsics": np.tile(np.array(intrinsics, np.float32), (batch, 1, 1)),
    }
    if config.method == "instance_motion":
        # Squares side by side.
        side = width // 10
        arrays["instance_labels"] = np.zeros(clips, np.uint8)
        for i in range(8):
            left = i * width // 8
            rows = slice(height - side - 1, height - 1)
            arrays["instance_labels"][..., rows, left : left + side] = i + 1
    return arrays


def measure(name: str, cache: str, steps: int) -> dict[str, object]:
    """Returns the figures of one case; to be called in a fresh process."""
    sys.path.insert(0, str(ROOT))
    from configs import synthetic

    config = synthetic.get_config(str(CASES[name].get("method", "")))
    config.update_from_flattened_dict(CASES[name])
    from mdm_jax.training import startup

    startup.configure_jax(config.train.cpu_devices, cache)
    import jax
    import numpy as np

    from mdm_jax import methods
    from mdm_jax.structs import batch_from_arrays
    from mdm_jax.training import optimizer, sharding
    from mdm_jax.training import state as state_lib
    from mdm_jax.training import step as step_lib

    mesh = sharding.make_mesh()
    layout = sharding.replicated(mesh)
    arrays = sharding.to_devices(mesh, make_arrays(config))
    method, adam = methods.create(config), optimizer.create(config)
    started = time.perf_counter()
    state = jax.jit(
        lambda a: state_lib.create(method, adam, batch_from_arrays(a), 0),
        out_shardings=layout,
    )(arrays)
    jax.block_until_ready(state)
    init_seconds = time.perf_counter() - started
    names = step_lib.metric_names(config.loss_weights, method.count_names)
    metrics = jax.device_put(step_lib.empty_metrics(names), layout)
    step = jax.jit(
        step_lib.make_train_step(
            method, adam, loss_weights=config.loss_weights, seed=0
        ),
        in_shardings=(layout, layout, sharding.by_clip(mesh)),
        out_shardings=(layout, layout),
        donate_argnums=0,
    )
    started = time.perf_counter()
    compiled = step.lower(state, metrics, arrays).compile()
    compile_seconds = time.perf_counter() - started
    times = []
    for _ in range(steps + 2):
        started = time.perf_counter()
        state, metrics = compiled(state, metrics, arrays)
        jax.block_until_ready((state, metrics))
        times.append(time.perf_counter() - started)
    return {
        "case": name,
        "steps": steps,
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        "init_seconds": init_seconds,
        "compile_seconds": compile_seconds,
        "step_milliseconds": 1e3 * float(np.median(times[2:])),
        "step_milliseconds_min": 1e3 * min(times[2:]),
        **_memory_and_work(compiled),
    }


def _memory_and_work(compiled) -> dict[str, object]:
    """Returns peak memory, temporaries and operations of a compiled step."""
    import jax

    device_peak = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    host_peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    memory = compiled.memory_analysis()
    flops = (compiled.cost_analysis() or {}).get("flops")
    return {
        "peak_gigabytes": (device_peak or host_peak) / 2**30,
        "peak_of": "device" if device_peak else "process",
        "step_temporaries_gigabytes": (
            memory.temp_size_in_bytes / 2**30 if memory else None
        ),
        "gigaflops_per_step": flops / 1e9 if flops else None,
    }


def main(argv: list[str]):
    del argv
    unknown = set(_CASES.value) - set(CASES)
    if unknown:
        raise app.UsageError(f"unknown cases {unknown}; there are {list(CASES)}")
    from mdm_jax.training import reporting

    results = []
    for name in _CASES.value or CASES:
        with tempfile.TemporaryDirectory() as cache:
            cold, warm = (
                fresh_process.call("train_step", f"measure({name!r}, {cache!r}, {n})")
                for n in (_STEPS.value, 1)
            )
        results.append(
            {
                **cold,
                "init_seconds_warm": warm["init_seconds"],
                "compile_seconds_warm": warm["compile_seconds"],
            }
        )
        print(json.dumps(results[-1]), flush=True)
        if _OUTPUT.value:
            _write(pathlib.Path(_OUTPUT.value), results)
    columns = {
        "case": "case",
        "init [s]": "init_seconds",
        "compile, cold [s]": "compile_seconds",
        "warm [s]": "compile_seconds_warm",
        "step [ms]": "step_milliseconds",
        "peak [GB]": "peak_gigabytes",
        "of the step alone [GB]": "step_temporaries_gigabytes",
    }
    table = [list(columns)]
    for result in results:
        table.append(
            [
                f"{v:.4g}" if isinstance(v, float) else str(v)
                for v in (result[key] for key in columns.values())
            ]
        )
    print(reporting.format_table(f"training step on {results[0]['device']}", table))


def _write(path: pathlib.Path, results: list[dict[str, object]]):
    """Writes results to a file; other cases in it are kept."""
    import jax

    environment = {
        "jax": jax.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "glibc_tunables": os.environ.get("GLIBC_TUNABLES", ""),
    }
    by_case = {}
    if path.exists():
        previous = json.loads(path.read_text())
        if previous["environment"] == environment:
            by_case = {result["case"]: result for result in previous["results"]}
    by_case |= {result["case"]: result for result in results}
    ordered = [by_case[name] for name in CASES if name in by_case]
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"environment": environment, "results": ordered}
    path.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    app.run(main)
