"""Weights of other frameworks: the same features, all or nothing, and back again."""

from __future__ import annotations

import functools
import pathlib
import pickle
import struct
import zipfile

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from mdm_jax.networks import disparity_net, pretrained, resnet, weight_files

_KEY = jax.random.key(0)
_FAST = {"xla_backend_optimization_level": 0}
# A sixteenth of the published widths.
_NARROW = 1 / 16


def _shapes(module, channels=3):
    return jax.eval_shape(module.init, _KEY, jnp.zeros((1, 64, 96, channels)))


def _as_network(variables):
    """Returns an encoder's variables as those of a network that has it."""
    return {name: {"encoder": values} for name, values in variables.items()}


def _encoder_shapes(depth=18, width=_NARROW, norm="batch", channels=3):
    return _as_network(_shapes(resnet.ResNetEncoder(depth, width, norm=norm), channels))


def _encoder_of(filled):
    return {name: values["encoder"] for name, values in filled.items()}


@functools.cache
def _published(depth, width=64):
    """Returns names and shapes of torchvision's ResNets, from their description."""
    blocks, expansion, kernels = {
        18: ((2, 2, 2, 2), 1, (3, 3)),
        34: ((3, 4, 6, 3), 1, (3, 3)),
        50: ((3, 4, 6, 3), 4, (1, 3, 1)),
    }[depth]
    shapes = {"conv1.weight": (width, 3, 7, 7)}

    def norm(name, channels):
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{leaf}"] = (channels,)
        shapes[f"{name}.num_batches_tracked"] = ()

    norm("bn1", width)
    channels = width
    for stage, count in enumerate(blocks):
        inner = width * 2**stage
        for i in range(count):
            block = f"layer{stage + 1}.{i}"
            before = channels
            for j, kernel in enumerate(kernels):
                last = j == len(kernels) - 1
                out = inner * (expansion if last else 1)
                shapes[f"{block}.conv{j + 1}.weight"] = (out, channels, kernel, kernel)
                norm(f"{block}.bn{j + 1}", out)
                channels = out
            if i == 0 and (stage > 0 or expansion > 1):
                shapes[f"{block}.downsample.0.weight"] = (channels, before, 1, 1)
                norm(f"{block}.downsample.1", channels)
    shapes |= {"fc.weight": (1000, channels), "fc.bias": (1000,)}
    return shapes


def _state_dict(depth=18, width=4, seed=0):
    rng = np.random.default_rng(seed)
    return {
        name: rng.uniform(0.5, 1.5, shape).astype(np.float32)
        for name, shape in _published(depth, width).items()
    }


def _written(tmp_path, arrays):
    path = tmp_path / "weights.safetensors"
    safetensors.numpy.save_file(arrays, path)
    return path


@pytest.mark.parametrize("norm", resnet.NORMS)
@pytest.mark.parametrize(
    ("depth", "parameters"), [(18, 11_689_512), (34, 21_797_672), (50, 25_557_032)]
)
def test_published_resnets_have_every_array_and_no_other(depth, parameters, norm):
    shapes = _published(depth)
    trained = {n: s for n, s in shapes.items() if "running" not in n}
    # As torchvision's documentation counts them.
    assert sum(int(np.prod(s)) for s in trained.values() if s) == parameters
    # Zeros that take no memory.
    arrays = {
        f"encoder.{name}": np.broadcast_to(np.float32(0), shape)
        for name, shape in shapes.items()
    }
    own = _encoder_shapes(depth, 1.0, norm)
    filled = flax.traverse_util.flatten_dict(pretrained.import_encoder(own, arrays))
    wanted = flax.traverse_util.flatten_dict(own)
    assert filled.keys() == wanted.keys()
    assert all(filled[path].shape == wanted[path].shape for path in wanted)


def test_an_export_is_imported_unchanged(tmp_path):
    own = _encoder_shapes(norm="batch")
    arrays = pretrained.read(_written(tmp_path, _state_dict()))
    filled = pretrained.import_encoder(own, arrays)
    exported = pretrained.export_network(filled, decoder=False)
    assert exported.keys() == {n for n in arrays if not n.startswith("encoder.fc.")}
    again = pretrained.import_encoder(own, exported)
    jax.tree.map(np.testing.assert_array_equal, again, filled)
    for name, array in exported.items():
        if not name.endswith("num_batches_tracked"):
            np.testing.assert_array_equal(array, arrays[name])


def test_layer_norms_have_no_equal_to_be_exported_to():
    with pytest.raises(ValueError, match=r"networks\.norm=batch"):
        pretrained.export_network(_encoder_shapes(norm="layer"), decoder=False)


def test_an_encoder_of_two_equal_frames_finds_what_one_finds(tmp_path):
    arrays = pretrained.read(_written(tmp_path, _state_dict()))
    one = pretrained.import_encoder(_encoder_shapes(), arrays)
    two = pretrained.import_encoder(_encoder_shapes(channels=6), arrays)
    kernel = _encoder_of(two)["params"].pop("stem_conv")["kernel"]
    single = _encoder_of(one)["params"].pop("stem_conv")["kernel"]
    np.testing.assert_array_equal(kernel[:, :, :3] + kernel[:, :, 3:], single)
    np.testing.assert_array_equal(kernel[:, :, :3], kernel[:, :, 3:])
    jax.tree.map(np.testing.assert_array_equal, two, one)


def test_what_does_not_fit_is_listed_and_nothing_is_filled():
    arrays = {f"encoder.{n}": a for n, a in _state_dict().items()}
    own = _encoder_shapes()
    del arrays["encoder.layer2.0.bn1.bias"]
    arrays["encoder.layer5.conv.weight"] = np.zeros((2, 3))
    arrays["encoder.conv1.weight"] = np.zeros((5, 3, 7, 7))
    with pytest.raises(ValueError, match="1 missing") as error:
        pretrained.import_encoder(own, arrays)
    for part in (
        "1 missing: encoder.layer2.0.bn1.bias",
        "1 without a place: encoder.layer5.conv.weight",
        "encoder.conv1.weight is [5, 3, 7, 7] and should be [4, 3, 7, 7]",
    ):
        assert part in str(error.value)
    # A ResNet-34 is no ResNet-18, nor is one of another width.
    for other in (_state_dict(34), _state_dict(18, 8)):
        with pytest.raises(ValueError, match="without a place|another shape"):
            pretrained.import_encoder(
                own, {f"encoder.{n}": a for n, a in other.items()}
            )


def test_our_own_variables_come_back_as_they_were(tmp_path):
    variables = jax.tree.map(
        lambda leaf: np.random.default_rng(leaf.size).normal(size=leaf.shape),
        _encoder_shapes(),
    )
    path = _written(tmp_path, pretrained.export_own(variables))
    again = pretrained.import_own(_encoder_shapes(), pretrained.read(path))
    jax.tree.map(np.testing.assert_array_equal, again, variables)
    with pytest.raises(ValueError, match="without a place: batch_stats/encoder"):
        pretrained.import_own(_encoder_shapes(norm="layer"), pretrained.read(path))


def test_files_that_are_no_weights_are_refused_by_name(tmp_path):
    class Harmful:
        def __reduce__(self):
            return (pathlib.Path.touch, (tmp_path / "harm",))

    (tmp_path / "text.pth").write_text("no weights")
    (tmp_path / "code.pth").write_bytes(pickle.dumps(Harmful()))
    (tmp_path / "empty.safetensors").write_bytes(b"")
    for name in ("text.pth", "code.pth", "empty.safetensors"):
        with pytest.raises(ValueError, match=f"{name} cannot be read as weights"):
            weight_files.read(tmp_path / name)
    assert not (tmp_path / "harm").exists()
    with pytest.raises(ValueError, match=r"no encoder\.pth"):
        pretrained.read(tmp_path)
    with pytest.raises(FileNotFoundError):
        pretrained.read(tmp_path / "absent.pth")


@pytest.mark.parametrize("count", [4, 9])
@pytest.mark.parametrize("lies", [False, True])
def test_no_tensor_reaches_into_memory_that_is_not_its_own(tmp_path, count, lies):
    def text(value):
        return b"X" + struct.pack("<I", len(value)) + value.encode()

    # By hand: PyTorch writes no such file. Four numbers, that may be told to be more.
    numbers = b"(" + text("storage") + b"ctorch\nFloatStorage\n"
    numbers += text("0") + text("cpu") + b"K\x04tQ"
    if lies:
        numbers += b"}" + text("count") + b"K\x63sb"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + numbers
    tensor += b"K\x00K" + bytes([count]) + b"\x85K\x01\x85tR"
    path = tmp_path / "made.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02}" + text("w") + tensor + b"s.")
        archive.writestr("a/data/0", struct.pack("<4f", 1, 2, 3, 4))
    if count == 4 and not lies:
        np.testing.assert_array_equal(weight_files.read(path)["w"], [1, 2, 3, 4])
    else:
        with pytest.raises(ValueError, match=r"made\.pth cannot be read as weights"):
            weight_files.read(path)


# --- Beside PyTorch ------------------------------------------------------------------


@pytest.fixture
def torch_nets():
    """The networks in PyTorch, where it is installed."""
    pytest.importorskip("torch")
    import importlib.util

    path = pathlib.Path(__file__).with_name("torch_nets.py")
    spec = importlib.util.spec_from_file_location("torch_nets", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _image(b=2, h=64, w=96):
    return np.random.default_rng(1).uniform(size=(b, h, w, 3)).astype(np.float32)


def _in_torch(network, image):
    import torch

    with torch.no_grad():
        maps = network(torch.from_numpy(image.transpose(0, 3, 1, 2)))
    return [np.asarray(m).transpose(0, 2, 3, 1) for m in maps]


def _ours(module, variables, *args):
    run = jax.jit(module.apply, compiler_options=_FAST)
    return jax.tree.map(np.asarray, run(variables, *args))


@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize("legacy", [False, True])
def test_features_are_those_of_pytorch(torch_nets, tmp_path, depth, legacy):
    import torch

    network = torch_nets.randomize(torch_nets.ResNet(depth, 4))
    path = tmp_path / "resnet.pth"
    torch.save(network.state_dict(), path, _use_new_zipfile_serialization=not legacy)
    filled = pretrained.import_encoder(
        _encoder_shapes(depth, norm="batch"), pretrained.read(path)
    )
    # Sides that do not divide by 32 too.
    image = _image(h=45, w=70) if legacy else _image()
    module = resnet.ResNetEncoder(depth, _NARROW, norm="batch")
    ours = _ours(module, _encoder_of(filled), image)
    for own, other in zip(ours, _in_torch(network, image), strict=True):
        np.testing.assert_allclose(own, other, atol=1e-4, rtol=1e-4)


def test_layer_norms_take_over_scale_offset_and_shortcut(torch_nets):
    from torch import nn

    network = torch_nets.randomize(torch_nets.ResNet(18, 4))
    arrays = {f"encoder.{n}": a.numpy() for n, a in network.state_dict().items()}
    for module in list(network.modules()):
        for name, part in list(module.named_children()):
            if name.startswith("bn"):  # not the shortcuts'
                norm = nn.InstanceNorm2d(part.num_features, eps=1e-3, affine=True)
                norm.load_state_dict({"weight": part.weight, "bias": part.bias})
                setattr(module, name, norm)
    filled = pretrained.import_encoder(_encoder_shapes(norm="layer"), arrays)
    image = _image()
    ours = _ours(resnet.ResNetEncoder(18, _NARROW), _encoder_of(filled), image)
    for own, other in zip(ours, _in_torch(network, image), strict=True):
        np.testing.assert_allclose(own, other, atol=1e-4, rtol=1e-4)


def test_depth_is_that_of_monodepth2(torch_nets, tmp_path):
    import torch

    # Encoder and decoder at a quarter of the published widths.
    net = disparity_net.DisparityNet(width_multiplier=0.25, norm="batch")
    encoder, decoder = torch_nets.monodepth2(16, 4)
    for network, name in ((encoder, "encoder"), (decoder, "depth")):
        arrays = torch_nets.randomize(network).state_dict()
        torch.save({**arrays, "height": 64}, tmp_path / f"{name}.pth")
    filled = pretrained.import_disparity_net(_shapes(net), pretrained.read(tmp_path))
    image = _image()
    depth = _ours(net, filled, image)
    with torch.no_grad():
        colors = torch.from_numpy(image.transpose(0, 3, 1, 2))
        disparity = decoder(encoder.encoder((colors - 0.45) / 0.225)).numpy()
    # Godard et al. 2019: depths from 0.1 to 100.
    expected = 1 / (0.01 + 9.99 * disparity)
    np.testing.assert_allclose(depth, expected, atol=1e-4, rtol=1e-4)
    exported = pretrained.export_network(filled, decoder=True)
    again = pretrained.import_disparity_net(_shapes(net), exported)
    jax.tree.map(np.testing.assert_array_equal, again, filled)
    # In PyTorch, all but the classifier and the coarser scales are found in it.
    missing = set(encoder.state_dict()) | set(decoder.state_dict())
    missing -= set(exported)
    assert all(".fc." in n or n.startswith("decoder.1") for n in missing)
