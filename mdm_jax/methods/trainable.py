"""Which parameters learn, and at what rate; `config.networks.freeze` says it.

    none          all of them
    encoder       all but the depth net's encoder
    all_but_norms all but the encoder's kernels: its norms' scales and offsets learn
    all_but_head  of the depth net its last layer alone

Motion and pose nets always learn, and so do low-rank updates of attention (LoRA; Hu et
al. 2022). A frozen parameter is a constant in training, so that nothing is differentiated
for it, and no activation is stored for a network that is frozen from its input on.
"""

from __future__ import annotations

from typing import Any

import jax
import ml_collections

from mdm_jax.methods.base import Method, PredictFn

FREEZE = ("none", "encoder", "all_but_norms", "all_but_head")
FROZEN, ENCODER, REST = "frozen", "encoder", "rest"
_NORM_LEAVES = ("scale", "offset", "bias")


def labels(params: Any, freeze: str) -> Any:
    """Returns the group of each parameter: `FROZEN`, `ENCODER` or `REST`."""

    def label(path: Any, _: Any) -> str:
        names = jax.tree_util.keystr(path, simple=True, separator="/").split("/")
        in_encoder = names[:2] == ["depth_net", "encoder"]
        if _is_frozen(names, freeze, in_encoder):
            return FROZEN
        return ENCODER if in_encoder else REST

    return jax.tree_util.tree_map_with_path(label, params)


def _is_frozen(names: list[str], freeze: str, in_encoder: bool) -> bool:
    if freeze == "none" or names[0] != "depth_net" or names[-1].startswith("lora_"):
        return False
    if freeze == "all_but_head":
        return not any(name.startswith("head") for name in names[1:])
    if freeze == "all_but_norms":
        is_norm = "norm" in names[-2] and names[-1] in _NORM_LEAVES
        return in_encoder and not is_norm
    return in_encoder


def freezes_norms(freeze: str) -> bool:
    """Returns whether the norms of the encoder are left as they are in training."""
    return freeze in ("encoder", "all_but_head")


def hold(method: Method, freeze: str) -> Method:
    """Returns the method with frozen parameters as constants in training."""
    if freeze == "none":
        return method
    return method._replace(predict=_held(method.predict, freeze))


def _held(predict: PredictFn, freeze: str) -> PredictFn:
    def held(variables, batch, *, step=None, train=False, rngs=None):
        if train:
            params = jax.tree.map(
                lambda x, group: jax.lax.stop_gradient(x) if group == FROZEN else x,
                variables["params"],
                labels(variables["params"], freeze),
            )
            variables = {**variables, "params": params}
        return predict(variables, batch, step=step, train=train, rngs=rngs)

    return held


def counts(params: Any, freeze: str) -> str:
    """Returns how many parameters each network has and how many of them learn."""
    totals: dict[str, list[int]] = {}
    leaves = jax.tree_util.tree_leaves_with_path(params)
    groups = jax.tree.leaves(labels(params, freeze))
    for (path, leaf), group in zip(leaves, groups, strict=True):
        names = jax.tree_util.keystr(path, simple=True, separator="/").split("/")
        in_depth_net = names[0] == "depth_net"
        name = names[0]
        if in_depth_net:
            name += "/encoder" if names[1] == "encoder" else "/decoder"
        total = totals.setdefault(name, [0, 0])
        total[0] += leaf.size
        total[1] += leaf.size if group != FROZEN else 0
    return ", ".join(
        f"{name} {learned:,} of {size:,}" for name, (size, learned) in totals.items()
    )


def check(config: ml_collections.ConfigDict) -> None:
    """Checks that what learns is described by options that exist.

    Raises:
        ValueError: one does not, or what would be frozen is random.
    """
    networks = config.networks
    if networks.freeze not in FREEZE:
        raise ValueError(
            f"config.networks.freeze expects one of {', '.join(FREEZE)}, got "
            f"{networks.freeze!r}"
        )
    if networks.freeze != "none" and not networks.init:
        raise ValueError(
            f"config.networks.freeze={networks.freeze} would keep random weights: name "
            "the weights to begin with in config.networks.init"
        )
