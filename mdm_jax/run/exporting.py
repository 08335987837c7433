"""Exports of a trained run for use elsewhere; `mdm_jax/export.py` lists the forms.

An export is written to a temporary folder, read back, run and compared with the run.
Only then does the folder get its name.
"""

from __future__ import annotations

import importlib
import json
import os
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from absl import logging

from mdm_jax import methods, settings
from mdm_jax.files import atomic
from mdm_jax.geometry import intrinsics as intrinsics_lib
from mdm_jax.methods import inference
from mdm_jax.networks import pretrained
from mdm_jax.run.run import Run
from mdm_jax.training import preflight

FORMATS = ("params", "stablehlo", "onnx", "torch")
PLATFORMS = ("cpu", "cuda", "tpu")
# Largest accepted difference, relative to the largest true value.
TOLERANCES = {"params": 1e-6, "stablehlo": 1e-5, "onnx": 1e-4, "torch": 0.0}


def export(
    run: Run,
    form: str,
    output: str | os.PathLike[str],
    *,
    size: tuple[int, int] | None = None,
) -> dict[str, float]:
    """Writes a run to a new folder and returns the error of each file.

    Args:
        run: to export.
        form: one of `FORMATS`.
        output: folder, which must not exist or be empty.
        size: (height, width) of the images that programs take; None for the run's.

    Returns:
        The largest difference between the results of each file and of the run, relative
        to the largest value.

    Raises:
        ValueError: the folder is not empty, the run cannot be exported in this form, or
            the difference exceeds `TOLERANCES`. Nothing is written then.
    """
    output = pathlib.Path(output)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ValueError(f"--output={output} exists already: name a new folder")
    height, width = size or run.config.dataset.size
    write = {
        "params": _write_params,
        "stablehlo": _write_stablehlo,
        "onnx": _write_onnx,
        "torch": _write_torch,
    }[form]
    with atomic.new_folder(output) as temporary:
        differences = write(run, temporary, (int(height), int(width)))
        for name, difference in differences.items():
            if not difference <= TOLERANCES[form]:
                raise ValueError(
                    f"{name} gives results that differ by {difference:.2g} (relative) "
                    f"from the run's, allowed are {TOLERANCES[form]:.0e}; nothing was "
                    "written. Try another form, or networks.dtype=float32"
                )
    return differences


def depth_function(run: Run) -> Callable[[Any, jax.Array], jax.Array]:
    """Returns `(variables, images [b h w 3]) -> depth [b h w]`."""

    def depth(variables: Any, images: jax.Array) -> jax.Array:
        arrays = {"frames": images[:, None]}
        maps = inference.predict_maps(run.method, variables, arrays, run.step)
        return maps["depth"]

    return depth


def egomotion_function(run: Run) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """Returns `(variables, pairs [b 2 h w 3], K [b 3 3]) -> (R [b 3 3], t [b 3])`.

    They map points from the first image's camera to the second's, in units of depth.
    For methods that need instance labels, these are a further argument, uint8 `[b 2 h w]`.
    """

    def egomotion(
        variables: Any, images: jax.Array, intrinsics: jax.Array, *labels: jax.Array
    ):
        arrays = {
            "frames": images,
            "intrinsics": intrinsics,
            # These images belong to no training video.
            "video_index": jnp.full(images.shape[:1], -1, jnp.int32),
        }
        if run.method.needs_labels:
            (arrays["instance_labels"],) = labels
        maps = inference.predict_maps(run.method, variables, arrays, run.step)
        return maps["rotation"], maps["translation"]

    return egomotion


def _examples(count: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Returns image pairs `[b 2 h w 3]` and intrinsics `[b 3 3]` to compare on."""
    height, width = size
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(count, 2, height, width, 3)).astype(np.float32)
    center = ((width - 1) / 2, (height - 1) / 2)
    matrix = intrinsics_lib.matrix(float(width), float(width), *center)
    matrix = np.asarray(matrix, np.float32)
    return images, np.broadcast_to(matrix, (count, 3, 3)).copy()


def _difference(actual: Any, true: Any) -> float:
    """Returns the largest difference relative to the largest true value."""
    actual, true = (jax.tree.map(np.asarray, x) for x in (actual, true))
    differences = [
        np.max(np.abs(a - t)) / max(np.max(np.abs(t)), 1e-12)
        for a, t in zip(jax.tree.leaves(actual), jax.tree.leaves(true), strict=True)
    ]
    # Unlike `max`, this is NaN if any difference is.
    return float(np.max(differences))


def _write_params(
    run: Run, folder: pathlib.Path, size: tuple[int, int]
) -> dict[str, float]:
    path = folder / "params.safetensors"
    safetensors.numpy.save_file(pretrained.export_own(run.variables), path)
    (folder / "config.json").write_text(settings.to_json(run.config))

    config = settings.from_json((folder / "config.json").read_text())
    again = methods.for_inference(methods.create(config), config)
    variables = pretrained.import_own(
        preflight.variable_shapes(again, config), pretrained.read(path)
    )
    images = _examples(2, size)[0][:, 0]
    true = jax.jit(depth_function(run))(run.variables, images)
    read = Run(config, again, variables, run.step, run.workdir)
    return {
        path.name: _difference(jax.jit(depth_function(read))(variables, images), true)
    }


def _write_stablehlo(
    run: Run, folder: pathlib.Path, size: tuple[int, int]
) -> dict[str, float]:
    height, width = size
    (count,) = jax.export.symbolic_shape("b")

    pairs, intrinsics = _examples(3, size)
    inputs = [pairs, intrinsics]
    if run.method.needs_labels:
        labels = np.zeros(pairs.shape[:-1], np.uint8)
        labels[:, :, height // 4 : height // 2, width // 4 : width // 2] = 1
        inputs.append(labels)
    programs = {
        "depth": (depth_function(run), [pairs[:, 0]]),
        "egomotion": (egomotion_function(run), inputs),
    }
    differences = {}
    for name, (function, examples) in programs.items():
        logging.info("Exporting %s for %s", name, ", ".join(PLATFORMS))

        def with_weights(*arrays: jax.Array, function: Any = function):
            return function(run.variables, *arrays)

        exported = jax.export.export(jax.jit(with_weights), platforms=PLATFORMS)(
            *(jax.ShapeDtypeStruct((count, *x.shape[1:]), x.dtype) for x in examples)
        )
        path = folder / f"{name}.jax_export"
        path.write_bytes(exported.serialize())

        read = jax.export.deserialize(bytearray(path.read_bytes()))
        true = jax.jit(function)(run.variables, *examples)
        # With two batch sizes: images of a batch are independent.
        single = read.call(*(example[:1] for example in examples))
        both = [
            _difference(read.call(*examples), true),
            _difference(single, jax.tree.map(lambda x: x[:1], true)),
        ]
        differences[path.name] = float(np.max(both))
    _describe(run, folder, size)
    return differences


def _write_onnx(
    run: Run, folder: pathlib.Path, size: tuple[int, int]
) -> dict[str, float]:
    try:
        jax2onnx = importlib.import_module("jax2onnx")
        onnxruntime = importlib.import_module("onnxruntime")
    except ImportError as error:
        raise ValueError(
            f"--format=onnx needs jax2onnx and onnxruntime ({error}). They ask for an "
            "older orbax-checkpoint than this package: in a copy of this environment, "
            "pip install jax2onnx onnxruntime"
        ) from error
    path = folder / "depth.onnx"
    height, width = size
    function = depth_function(run)
    logging.info("Converting; this takes a minute")
    jax2onnx.to_onnx(
        lambda images: function(run.variables, images),
        [("b", height, width, 3)],
        return_mode="file",
        output_path=str(path),
    )
    session = onnxruntime.InferenceSession(
        str(path), providers=["CPUExecutionProvider"]
    )
    images = _examples(3, size)[0][:, 0]
    true = np.asarray(jax.jit(function)(run.variables, images))
    (given,) = session.get_inputs()
    differences = []
    for count in (1, 3):
        (depth,) = session.run(None, {given.name: images[:count]})
        differences.append(_difference(depth, true[:count]))
    _describe(run, folder, size)
    return {path.name: float(np.max(differences))}


def _write_torch(
    run: Run, folder: pathlib.Path, size: tuple[int, int]
) -> dict[str, float]:
    del size
    network = {
        collection: values["depth_net"]
        for collection, values in run.variables.items()
        if "depth_net" in values
    }
    decoder = run.config.networks.depth_decoder == "disparity"
    path = folder / "network.safetensors"
    safetensors.numpy.save_file(
        pretrained.export_network(network, decoder=decoder), path
    )
    fill = pretrained.import_disparity_net if decoder else pretrained.import_encoder
    again = fill(network, pretrained.read(path))
    _describe(run, folder, None)
    return {path.name: _difference(again, network)}


def _describe(run: Run, folder: pathlib.Path, size: tuple[int, int] | None):
    """Writes `export.json`, which explains the other files."""
    description: dict[str, Any] = {
        "method": run.config.method,
        "step": run.step,
        "unit": "relative: depth and translation share one unknown scale",
        "config": run.config.to_dict(),
    }
    if size is not None:
        description["images"] = "float32 [b h w 3] RGB, 0 to 1"
        description["height"], description["width"] = size
        if run.method.needs_labels:
            description["labels"] = "uint8 [b 2 h w], instances of image pairs, 0: none"
    text = json.dumps(description, indent=2, sort_keys=True) + "\n"
    (folder / "export.json").write_text(text)
