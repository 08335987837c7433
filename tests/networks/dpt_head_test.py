"""DINOv2 and Depth Anything V2: equal to `transformers`, at any size, from any file."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm_jax.networks import dinov2_weights, dpt_head, pretrained, resampling, vit

_KEY = jax.random.key(0)
_SIZE = vit.Size(width=32, depth=4, heads=2, taps=(0, 1, 2, 3), grid=5)
_NET = dpt_head.DepthAnything(_SIZE, features=10, widths=(6, 8, 12, 16), last_width=7)


def _random(net, shape=(1, 28, 42, 3), seed=0):
    """Returns random variables whose every layer matters."""
    shapes = jax.eval_shape(net.init, _KEY, jnp.zeros(shape))
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(0.1, 0.3, leaf.shape).astype(np.float32)),
        shapes,
    )


@pytest.fixture(scope="module")
def peer():
    """A small Depth Anything of `transformers` with random weights."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    backbone = transformers.Dinov2Config(
        hidden_size=_SIZE.width,
        num_hidden_layers=_SIZE.depth,
        num_attention_heads=_SIZE.heads,
        image_size=_SIZE.grid * vit.PATCH,
        out_indices=[tap + 1 for tap in _SIZE.taps],
        layer_norm_eps=1e-6,
        reshape_hidden_states=False,
    )
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=_SIZE.width,
        neck_hidden_sizes=list(_NET.widths),
        fusion_hidden_size=_NET.features,
        head_hidden_size=_NET.last_width,
    )
    model = transformers.DepthAnythingForDepthEstimation(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.2 + 0.05)
    return model


@pytest.mark.parametrize("shape", [(70, 70), (28, 98)])
def test_features_and_depth_are_those_of_transformers(peer, shape, tmp_path):
    import torch

    from mdm_jax.networks import weight_files

    peer.save_pretrained(tmp_path)
    arrays = weight_files.read(tmp_path / "model.safetensors")
    in_memory = {name: value.numpy() for name, value in peer.state_dict().items()}
    image = np.random.default_rng(0).uniform(size=(2, *shape, 3)).astype(np.float32)
    standardized = (image - dpt_head._MEAN) / dpt_head._STDDEV
    pixels = torch.from_numpy(standardized.astype(np.float32).transpose(0, 3, 1, 2))
    with torch.no_grad():
        tokens = peer.backbone(pixels).feature_maps
        depth = peer(pixels).predicted_depth.numpy()
    assert depth.std() > 0.1

    shapes = jax.eval_shape(_NET.init, _KEY, jnp.asarray(image))
    for layout in (arrays, in_memory):
        variables = dinov2_weights.import_depth_net(
            {"params": {**shapes["params"], "head_factor": 1.0, "head_offset": 0.0}},
            dinov2_weights.official_names(layout),
        )
        ours = _NET.apply(variables, jnp.asarray(image), method="raw")
        np.testing.assert_allclose(ours, depth, atol=1e-4 * np.abs(depth).max())
    encoder = vit.VisionTransformer(_SIZE)
    maps = encoder.apply(
        {"params": variables["params"]["encoder"]},
        jnp.asarray(standardized, jnp.float32),
    )
    for ours, theirs in zip(maps, tokens, strict=True):
        theirs = theirs[:, 1:].numpy().reshape(ours.shape)
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_sizes_are_the_published_ones():
    net = dpt_head.of_encoder("dinov2_vits14", max_depth=0.0, rank=0, dtype=jnp.float32)
    params = jax.eval_shape(net.init, _KEY, jnp.zeros((1, 28, 28, 3)))["params"]
    count = {
        name: sum(leaf.size for leaf in jax.tree.leaves(part))
        for name, part in params.items()
    }
    # DINOv2's published 22,056,576 have a mask token, which is not needed here.
    assert count["encoder"] == 22_056_576 - 384
    # 24,785,089 in the published file, whose deepest fusion has a unit without a use.
    assert count["encoder"] + count["head"] == 24_785_089 - 384 - 2 * (9 * 64 + 1) * 64


def _official(variables):
    """Returns variables by their official names, written out independently."""
    own = pretrained.flatten(variables)
    tree = {
        "encoder/cls_token": "pretrained.cls_token",
        "encoder/pos_embed": "pretrained.pos_embed",
        "encoder/patch_embed": "pretrained.patch_embed.proj",
        "encoder/norm": "pretrained.norm",
        "head/output1": "depth_head.scratch.output_conv1",
        "head/output2": "depth_head.scratch.output_conv2.0",
        "head": "depth_head.scratch.output_conv2.2",
    }
    for i in range(_SIZE.depth):
        block, official = f"encoder/block{i}", f"pretrained.blocks.{i}"
        tree |= {
            f"{block}/gamma1": f"{official}.ls1.gamma",
            f"{block}/gamma2": f"{official}.ls2.gamma",
            f"{block}/norm1": f"{official}.norm1",
            f"{block}/norm2": f"{official}.norm2",
            f"{block}/qkv": f"{official}.attn.qkv",
            f"{block}/proj": f"{official}.attn.proj",
            f"{block}/fc1": f"{official}.mlp.fc1",
            f"{block}/fc2": f"{official}.mlp.fc2",
        }
    for i in range(4):
        fusion = f"depth_head.scratch.refinenet{i + 1}"
        tree |= {
            f"head/project{i}": f"depth_head.projects.{i}",
            f"head/resize{i}": f"depth_head.resize_layers.{i}",
            f"head/reduce{i}": f"depth_head.scratch.layer{i + 1}_rn",
            f"head/fuse{i}_out": f"{fusion}.out_conv",
        }
        for j in (1, 2):
            tree |= {
                f"head/fuse{i}_skip/conv{j}": f"{fusion}.resConfUnit1.conv{j}",
                f"head/fuse{i}_unit/conv{j}": f"{fusion}.resConfUnit2.conv{j}",
            }
    arrays = {}
    for path, leaf in own.items():
        path = path.removeprefix("params/")
        if path.startswith("head_"):
            continue
        leaf = np.asarray(leaf)
        if path in tree:
            arrays[tree[path]] = leaf
            continue
        module, _, kind = path.rpartition("/")
        if kind == "kernel" and "patch_embed" in path:
            leaf = leaf.reshape(14, 14, 3, -1).transpose(3, 2, 0, 1)
        elif kind == "kernel" and "resize0" in path or "resize1" in path:
            leaf = leaf.transpose(2, 3, 0, 1) if leaf.ndim == 4 else leaf
        elif kind == "kernel":
            leaf = leaf.T if leaf.ndim == 2 else leaf.transpose(3, 2, 0, 1)
        arrays[f"{tree[module]}.{'bias' if kind == 'bias' else 'weight'}"] = leaf
    return arrays


def test_official_files_are_read_and_dinov2_alone_fills_the_encoder():
    variables, other = _random(_NET), _random(_NET, seed=1)
    arrays = _official(variables)
    extra = {"pretrained.mask_token": np.zeros((1, 32), np.float32)}
    named = dinov2_weights.official_names(arrays | extra)
    filled = dinov2_weights.import_depth_net(other, named)
    for part in ("encoder", "head"):
        jax.tree.map(
            np.testing.assert_array_equal,
            filled["params"][part],
            variables["params"][part],
        )
    assert filled["params"]["head_factor"] == other["params"]["head_factor"]

    alone = {
        name.removeprefix("pretrained."): array
        for name, array in arrays.items()
        if name.startswith("pretrained.")
    }
    filled = dinov2_weights.import_depth_net(
        other, dinov2_weights.official_names(alone)
    )
    for part, source in (("encoder", variables), ("head", other)):
        jax.tree.map(
            np.testing.assert_array_equal,
            filled["params"][part],
            source["params"][part],
        )
    del alone["blocks.2.mlp.fc1.bias"]
    with pytest.raises(ValueError, match=r"1 missing: pretrained\.blocks\.2\.mlp\.fc1"):
        dinov2_weights.import_depth_net(other, dinov2_weights.official_names(alone))


def test_licences_that_forbid_commerce_are_named():
    head = {"depth_head.projects.0.bias": np.zeros(2)}

    def notice(width, **others):
        positions = np.zeros((1, 2, width))
        return dinov2_weights.licence_notice(
            {"pretrained.pos_embed": positions, **others}
        )

    assert notice(384, **head) == ""
    assert "Base is licensed under CC-BY-NC-4.0" in notice(768, **head)
    assert "Large is licensed under CC-BY-NC-4.0" in notice(1024, **head)
    # DINOv2 itself is under Apache-2.0.
    assert notice(1024) == ""


def test_depth_is_the_inverse_of_an_affine_function_of_the_output():
    variables = _random(_NET)
    variables["params"]["head_factor"] = jnp.asarray(0.3)
    variables["params"]["head_offset"] = jnp.asarray(0.2)
    image = jax.random.uniform(_KEY, (2, 30, 45, 3))
    depth, raw = jax.jit(
        lambda v, x: (_NET.apply(v, x), _NET.apply(v, x, method="raw"))
    )(variables, image)
    assert depth.shape == (2, 30, 45)
    assert raw.shape == (2, 28, 42)
    raw = resampling.resize_pixels(raw[..., None], (30, 45))[..., 0]
    np.testing.assert_allclose(1 / depth, 0.3 * raw + 0.201, rtol=1e-4)


def test_metric_depth_is_bounded_and_has_nothing_to_calibrate():
    net = _NET.clone(max_depth=80.0)
    image = jax.random.uniform(_KEY, (1, 28, 42, 3))
    depth, variables = jax.jit(net.init_with_output)(_KEY, image)
    assert set(variables["params"]) == {"encoder", "head"}
    assert (depth > 0).all()
    assert (depth < 80).all()


def test_low_rank_updates_are_nothing_at_first_and_learn():
    shape = (1, 28, 42, 3)
    image = jax.random.uniform(_KEY, shape)
    encoder = vit.VisionTransformer(_SIZE, rank=2)
    variables = encoder.init(_KEY, image)
    plain = {
        "params": jax.tree_util.tree_map_with_path(
            lambda path, x: None if "lora" in str(path[-1]) else x, variables["params"]
        )
    }
    expected = vit.VisionTransformer(_SIZE).apply(plain, image)

    def total(params):
        maps = encoder.apply({"params": params}, image)
        return sum(jnp.sum(m**3) for m in maps), maps

    gradient, maps = jax.jit(jax.grad(total, has_aux=True))(variables["params"])
    for ours, theirs in zip(maps, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert np.any(gradient["block0"]["qkv"]["lora_b"])
    assert np.any(gradient["block0"]["proj"]["lora_b"])


def test_cubic_interpolation_keeps_ramps_constants_and_its_own_size():
    ramp = jnp.arange(6.0)[None, :, None, None] * jnp.ones((1, 6, 5, 2))
    np.testing.assert_allclose(resampling.resize_cubic(ramp, (6, 5)), ramp, atol=1e-6)
    larger = resampling.resize_cubic(ramp + 3, (12, 7))
    # Away from the border, where what lies outside repeats it.
    expected = (np.arange(12) + 0.5) / 2 - 0.5 + 3
    np.testing.assert_allclose(larger[0, 4:-4, 3, 1], expected[4:-4], atol=0.05)
    constant = resampling.resize_cubic(jnp.ones((1, 4, 5, 1)), (9, 3))
    np.testing.assert_allclose(constant, 1, atol=1e-6)
