"""A method is three pure functions and what it needs; everything else is shared.

The trainer, the evaluator and the exporter know a method only as this named tuple. A
third method is one new file that builds it, and one line in `methods/__init__.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from mdm_jax.recording.arrays import Recording
from mdm_jax.structs import Batch, Prediction

Variables = dict[str, Any]


class InitFn(Protocol):
    """Returns fresh variables (`params` and other collections) for such batches."""

    def __call__(self, rng: jax.Array, batch: Batch) -> Variables: ...


class PredictFn(Protocol):
    """Returns the prediction and the updated non-parameter collections.

    `step` drives what is ramped during training (burn-in, noise); None means that all
    ramps are complete. `rngs` holds the stream `noise` and is needed when training.
    """

    def __call__(
        self,
        variables: Variables,
        batch: Batch,
        *,
        step: jax.Array | None = None,
        train: bool = False,
        rngs: dict[str, jax.Array] | None = None,
    ) -> tuple[Prediction, Variables]: ...


class LossTermsFn(Protocol):
    """Returns the unweighted terms of the objective, one scalar for each name."""

    def __call__(
        self, prediction: Prediction, batch: Batch, step: jax.Array
    ) -> dict[str, jax.Array]: ...


class CountsFn(Protocol):
    """Returns further scalars to report while training, by name."""

    def __call__(self, prediction: Prediction) -> dict[str, jax.Array]: ...


def unchanged(config: ConfigDict, *_: object) -> ConfigDict:
    """Returns the config as it is."""
    return config


class Method(NamedTuple):
    """A way to learn depth and motion, as a config describes it.

    Attributes:
        init: makes the variables.
        predict: maps a batch to depth and motion.
        loss_terms: the objective.
        counts: reported with the losses under `count_names`.
        count_names: names of `counts`.
        needs_labels: training needs the instance labels of every frame.
        learns_intrinsics: the predicted intrinsics are learned, not the batch's.
        settle: returns the config with settings that depend on the training recordings
            filled in; the method is then created again.
        for_inference: returns the config without approximations that only save time in
            training. The variables stay the same.
    """

    init: InitFn
    predict: PredictFn
    loss_terms: LossTermsFn
    counts: CountsFn | None = None
    count_names: tuple[str, ...] = ()
    needs_labels: bool = False
    learns_intrinsics: bool = False
    settle: Callable[[ConfigDict, Sequence[Recording]], ConfigDict] = unchanged
    for_inference: Callable[[ConfigDict], ConfigDict] = unchanged


def of_module(model: nn.Module, loss_terms: LossTermsFn, **options: Any) -> Method:
    """Returns the method whose parameters are those of one Flax module.

    Args:
        model: called with a batch, `step` and `train`; draws from the stream `noise`.
        loss_terms: see `Method`.
        **options: the other fields of `Method`.
    """

    def init(rng: jax.Array, batch: Batch) -> Variables:
        rngs = {"params": rng, "noise": rng}
        return dict(model.init(rngs, batch, step=None, train=False))

    predict = functools.partial(apply, model)
    return Method(init, predict, loss_terms, **options)


def apply(
    model: nn.Module,
    variables: Variables,
    batch: Batch,
    *,
    step: jax.Array | None = None,
    train: bool = False,
    rngs: dict[str, jax.Array] | None = None,
) -> tuple[Prediction, Variables]:
    """Returns a module's prediction, and its updated collections except `params`."""
    others = {name: value for name, value in variables.items() if name != "params"}
    result: Any = model.apply(
        variables,
        batch,
        step=step,
        train=train,
        rngs=rngs,
        mutable=list(others) if train else False,
    )
    if not train:
        return result, others
    prediction, updated = result
    # Flax returns only collections that were updated.
    return prediction, others | dict(updated)


def total_loss(
    terms: dict[str, jax.Array], weights: dict[str, float]
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns the weighted sum and the weighted terms, without terms of weight 0.

    Raises:
        ValueError: terms and weights have different names; the message lists both.
    """
    unknown = sorted(set(weights) - set(terms))
    unweighted = sorted(set(terms) - set(weights))
    if unknown or unweighted:
        raise ValueError(
            "config.loss_weights must name exactly the method's loss terms: "
            f"unknown {unknown or 'none'}, without a weight {unweighted or 'none'}; "
            f"the terms are {sorted(terms)}"
        )
    weighted = {name: weights[name] * terms[name] for name in terms if weights[name]}
    return sum(weighted.values(), start=jnp.zeros(())), weighted
