"""The networks whose weights are imported, in PyTorch, with the names these have there.

Written from the papers and the published names, for tests alone: torchvision's ResNet
(He et al. 2016) and monodepth2's decoder on it (Godard et al. 2019). All widths can be
scaled.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class _Block(nn.Module):
    """A block of kernels (3, 3), or (1, 3, 1) to four times the width."""

    def __init__(self, width_in: int, width: int, stride: int, *, bottleneck: bool):
        super().__init__()
        width_out = width * (4 if bottleneck else 1)
        kernels = (1, 3, 1) if bottleneck else (3, 3)
        widths = [width_in, *[width] * (len(kernels) - 1), width_out]
        strided = 1 if bottleneck else 0
        for i, kernel in enumerate(kernels):
            conv = nn.Conv2d(
                widths[i],
                widths[i + 1],
                kernel,
                stride=stride if i == strided else 1,
                padding=kernel // 2,
                bias=False,
            )
            self.add_module(f"conv{i + 1}", conv)
            self.add_module(f"bn{i + 1}", nn.BatchNorm2d(widths[i + 1]))
        self.count = len(kernels)
        self.downsample = None
        if stride != 1 or width_in != width_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(width_in, width_out, 1, stride=stride, bias=False),
                nn.BatchNorm2d(width_out),
            )

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        for i in range(1, self.count + 1):
            x = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(x))
            if i < self.count:
                x = functional.relu(x)
        return functional.relu(x + shortcut)


class ResNet(nn.Module):
    """torchvision's ResNet; gives the feature maps of strides 2 to 32."""

    def __init__(self, depth: int, width: int = 64):
        super().__init__()
        blocks = (2, 2, 2, 2) if depth == 18 else (3, 4, 6, 3)
        bottleneck = depth == 50
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        width_in = width
        for stage, count in enumerate(blocks):
            layer = []
            for i in range(count):
                stride = 2 if stage > 0 and i == 0 else 1
                inner = width * 2**stage
                layer.append(_Block(width_in, inner, stride, bottleneck=bottleneck))
                width_in = inner * (4 if bottleneck else 1)
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layer))
        self.fc = nn.Linear(width_in, 1000)
        self.widths = [width] + [
            width * 2**stage * (4 if bottleneck else 1) for stage in range(4)
        ]

    def forward(self, x):
        features = [functional.relu(self.bn1(self.conv1(x)))]
        x = functional.max_pool2d(features[0], 3, stride=2, padding=1)
        for stage in range(1, 5):
            x = getattr(self, f"layer{stage}")(x)
            features.append(x)
        return features


class _Encoder(nn.Module):
    def __init__(self, depth: int, width: int):
        super().__init__()
        self.encoder = ResNet(depth, width)


class _PaddedConv(nn.Module):
    def __init__(self, width_in: int, width_out: int):
        super().__init__()
        self.conv = nn.Conv2d(width_in, width_out, 3)

    def forward(self, x):
        return self.conv(functional.pad(x, (1, 1, 1, 1), mode="reflect"))


class _ConvBlock(nn.Module):
    def __init__(self, width_in: int, width_out: int):
        super().__init__()
        self.conv = _PaddedConv(width_in, width_out)

    def forward(self, x):
        return functional.elu(self.conv(x))


class DepthDecoder(nn.Module):
    """monodepth2's decoder, of which only the finest scale is computed."""

    def __init__(self, widths: list[int], base: int = 16):
        super().__init__()
        layers = []
        own = [base * 2**i for i in range(5)]
        for i in reversed(range(5)):
            width_in = widths[-1] if i == 4 else own[i + 1]
            layers.append(_ConvBlock(width_in, own[i]))
            skip = widths[i - 1] if i > 0 else 0
            layers.append(_ConvBlock(own[i] + skip, own[i]))
        layers += [_PaddedConv(own[scale], 1) for scale in range(4)]
        self.decoder = nn.ModuleList(layers)

    def forward(self, features):
        x = features[-1]
        for step, i in enumerate(reversed(range(5))):
            x = self.decoder[2 * step](x)
            x = functional.interpolate(x, scale_factor=2, mode="nearest")
            if i > 0:
                x = torch.cat([x, features[i - 1]], dim=1)
            x = self.decoder[2 * step + 1](x)
        return torch.sigmoid(self.decoder[10](x))[:, 0]


def randomize(module: nn.Module, seed: int = 0) -> nn.Module:
    """Gives a module weights and statistics as if it had been trained; returns it."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(tensor, low, high):
        random = torch.rand(tensor.shape, generator=generator)
        tensor.copy_(low + (high - low) * random)

    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                uniform(part.weight, 0.5, 1.5)
                uniform(part.bias, -0.3, 0.3)
                uniform(part.running_mean, -0.3, 0.3)
                uniform(part.running_var, 0.5, 2.0)
            elif isinstance(part, nn.Conv2d):
                fan_in = part.weight[0].numel()
                uniform(part.weight, -((6 / fan_in) ** 0.5), (6 / fan_in) ** 0.5)
                if part.bias is not None:
                    uniform(part.bias, -0.3, 0.3)
    return module.eval()


def monodepth2(width: int = 64, base: int = 16) -> tuple[nn.Module, nn.Module]:
    """Returns encoder and decoder, with the names of encoder.pth and depth.pth."""
    encoder = _Encoder(18, width)
    return encoder, DepthDecoder(encoder.encoder.widths, base)
