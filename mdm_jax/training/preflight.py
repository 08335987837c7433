"""Checks of a config before any data are opened.

Decoding a video takes minutes; a misspelt loss should fail before that.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import ml_collections
from jax.sharding import Mesh

from mdm_jax import config as config_lib
from mdm_jax import methods, sources
from mdm_jax.input_pipeline import augment
from mdm_jax.masks import mask_set
from mdm_jax.methods.base import Method, Variables, total_loss
from mdm_jax.sources import own_video
from mdm_jax.structs import batch_from_arrays
from mdm_jax.training import initial_weights, optimizer, sharding


def check(config: ml_collections.ConfigDict, mesh: Mesh, *, resumes: bool = False):
    """Checks fields, options and loss names of a config, and the initial weights.

    Args:
        config: of the run.
        mesh: of the devices.
        resumes: there is a checkpoint, so that initial weights are not needed.

    Raises:
        ValueError: a setting cannot be used; the message says what to do.
    """
    config_lib.validate(config)
    size = tuple(config.dataset.size)
    if len(size) != 2 or min(size) < own_video.MIN_SIDE:
        raise ValueError(
            "config.dataset.size expects (height, width), at least "
            f"{own_video.MIN_SIDE} pixels each, as in --config.dataset.size=128x416, got "
            f"{size}"
        )
    method = methods.create(config)
    _check_masks(config, method)
    _check_intrinsics(config)
    optimizer.create(config)
    augment.make_config(config.augment.to_dict())
    sharding.check_batch_size(
        mesh, config.train.batch_size, config.optimizer.accumulate_steps
    )

    def loss(arrays: dict[str, jax.Array]) -> jax.Array:
        batch = batch_from_arrays(arrays)
        variables = method.init(jax.random.key(0), batch)
        prediction, _ = method.predict(variables, batch)
        terms = method.loss_terms(prediction, batch, jnp.zeros((), jnp.int32))
        return total_loss(terms, dict(config.loss_weights))[0]

    # Derives shapes without computing anything; this checks the names of the terms.
    jax.eval_shape(loss, clip_shapes(config))
    if config.networks.init and not resumes:
        initial_weights.check(config, variable_shapes(method, config))


def _check_masks(config: ml_collections.ConfigDict, method: Method):
    """Checks that the data set can have masks if the method needs them.

    Whether a data set that may have labels does have them is checked when it is opened.
    """
    dataset = config.dataset
    labelled = ("synthetic", "prepared", *sources.LABELLED)
    if method.needs_labels and not dataset.masks and dataset.name not in labelled:
        raise ValueError(
            f"config.method={config.method} trains on instance masks,"
            f" config.dataset.name={dataset.name} has none, and config.dataset.masks is"
            f" empty: {mask_set.ADVICE}"
        )


def _check_intrinsics(config: ml_collections.ConfigDict):
    """Checks that intrinsics are of a kind that the data and the method allow."""
    given = config.dataset.intrinsics
    if given and config.dataset.name == "synthetic":
        raise ValueError(
            f"config.dataset.intrinsics={given!r}: synthetic drives have exact"
            " intrinsics; clear it, and set config.camera.intrinsics=pair or video to"
            " learn them"
        )
    if given == "learned" and config.camera.intrinsics == "given":
        # As `data.settle` does. A method that needs intrinsics says so.
        config = config.copy_and_resolve_references()
        config.camera.intrinsics = "video"
        methods.create(config)


def variable_shapes(method: Method, config: ml_collections.ConfigDict) -> Variables:
    """Returns the shapes of a method's variables; nothing is computed."""

    def init(arrays: dict[str, jax.Array]) -> Variables:
        return method.init(jax.random.key(0), batch_from_arrays(arrays))

    return jax.eval_shape(init, clip_shapes(config))


def clip_shapes(config: ml_collections.ConfigDict) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns the shapes of a batch of one clip, with all optional arrays."""
    height, width = config.dataset.size
    length = config.dataset.clip_length
    image = (1, length, height, width)
    return {
        "frames": jax.ShapeDtypeStruct((*image, 3), jnp.uint8),
        "intrinsics": jax.ShapeDtypeStruct((1, 3, 3), jnp.float32),
        "instance_labels": jax.ShapeDtypeStruct(image, jnp.uint8),
        "depth": jax.ShapeDtypeStruct(image, jnp.float32),
        "world_from_camera": jax.ShapeDtypeStruct((1, length, 4, 4), jnp.float32),
        "video_index": jax.ShapeDtypeStruct((1,), jnp.int32),
        "pixel_map": jax.ShapeDtypeStruct((1, 2, 2), jnp.float32),
    }
