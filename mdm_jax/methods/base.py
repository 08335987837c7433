"""A method is three pure functions; everything else is shared.

The trainer, the evaluator and the exporter know a method only as this named tuple. A
third method is one new file that builds it, and one line in `methods/__init__.py`.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp

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
    """Returns what else is worth watching in training, one scalar for each name."""

    def __call__(self, prediction: Prediction) -> dict[str, jax.Array]: ...


class Method(NamedTuple):
    """A way to learn depth and motion, see the module's docstring.

    `counts`, where a method has any, are reported with the losses under the names in
    `count_names`.
    """

    init: InitFn
    predict: PredictFn
    loss_terms: LossTermsFn
    counts: CountsFn | None = None
    count_names: tuple[str, ...] = ()


def of_module(
    model: nn.Module,
    loss_terms: LossTermsFn,
    *,
    counts: CountsFn | None = None,
    count_names: tuple[str, ...] = (),
) -> Method:
    """Returns the method whose parameters are those of one Flax module.

    Args:
        model: called with a batch, `step` and `train`; draws from the stream `noise`.
        loss_terms: see `Method`.
        counts: see `Method`.
        count_names: see `Method`.
    """

    def init(rng: jax.Array, batch: Batch) -> Variables:
        rngs = {"params": rng, "noise": rng}
        return dict(model.init(rngs, batch, step=None, train=False))

    predict = functools.partial(apply, model)
    return Method(init, predict, loss_terms, counts, count_names)


def apply(
    model: nn.Module,
    variables: Variables,
    batch: Batch,
    *,
    step: jax.Array | None = None,
    train: bool = False,
    rngs: dict[str, jax.Array] | None = None,
) -> tuple[Prediction, Variables]:
    """Returns a module's prediction, and the collections but `params` after it."""
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
    # Without any to update, Flax returns none.
    return prediction, others | dict(updated)


def total_loss(
    terms: dict[str, jax.Array], weights: dict[str, float]
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns the weighted sum and the weighted terms; those of weight 0 are left out.

    Raises:
        ValueError: the names of terms and weights differ; both sides are named.
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
