"""The method in plain PyTorch, written from the paper's tables: what parity tests and timings compare with.

Nothing here is shared with `l2s_jax`, on purpose. The encoder has torchvision's key names for ResNet-18.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

IGNORE_PIXEL = 255


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around an identity or a strided 1x1 projection (He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            projection = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """f32[B,I,H,W] to f32[B,O,H/stride,W/stride]."""
        y = functional.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return functional.relu(y + (x if self.downsample is None else self.downsample(x)))


class Encoder(nn.Module):
    """ResNet-18 up to its third layer (section 2.2)."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(BasicBlock(64, 64, 1), BasicBlock(64, 64, 1))
        self.layer2 = nn.Sequential(BasicBlock(64, 128, 2), BasicBlock(128, 128, 1))
        self.layer3 = nn.Sequential(BasicBlock(128, 256, 2), BasicBlock(256, 256, 1))

    def features(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """f32[B,3,H,W] to f32[B,64,H/4,W/4], f32[B,128,H/8,W/8] and f32[B,256,H/16,W/16]."""
        first = self.layer1(self.maxpool(functional.relu(self.bn1(self.conv1(x)))))
        second = self.layer2(first)
        return first, second, self.layer3(second)

    def forward(self, x: Tensor) -> Tensor:
        """f32[B,3,H,W] to f32[B,256,H/16,W/16]."""
        return self.features(x)[-1]


class Decoder(nn.Module):
    """Table A.2 up to the low-resolution logits, in the order of the table."""

    def __init__(self, classes: int):
        super().__init__()
        self.conv = nn.Conv2d(256, 64, 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(64)
        self.upsample = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        self.logits = nn.Conv2d(64, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """f32[B,256,h,w] to f32[B,C,2h,2w]."""
        return self.logits(self.upsample(functional.relu(self.bn(self.conv(x)))))


class SkipDecoder(nn.Module):
    """The decoder `skip`, not in the paper: a feature pyramid (Lin et al. 2017) of 64 channels."""

    def __init__(self, classes: int):
        super().__init__()
        self.conv = nn.Conv2d(256, 64, 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(64)
        self.upsample = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        self.lateral2 = nn.Conv2d(128, 64, 1, bias=False)
        self.lateral1 = nn.Conv2d(64, 64, 1, bias=False)
        self.conv2 = nn.Conv2d(64, 64, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(64)
        self.logits = nn.Conv2d(64, classes, 1)

    def forward(self, first: Tensor, second: Tensor, third: Tensor) -> Tensor:
        """Features of strides 4, 8 and 16 to f32[B,C,H/4,W/4]."""
        x = self.upsample(functional.relu(self.bn(self.conv(third)))) + self.lateral2(second)
        x = self.upsample(x) + self.lateral1(first)
        return self.logits(functional.relu(self.bn2(self.conv2(x))))


class Classifier(nn.Module):
    """Table A.3."""

    def __init__(self, classes: int):
        super().__init__()
        self.conv1 = nn.Conv2d(classes, 8, 1, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, classes, 1, bias=False)

    def forward(self, coarse_logits: Tensor) -> Tensor:
        """f32[B,C,h,w] to f32[B,C]."""
        x = functional.adaptive_avg_pool2d(coarse_logits, 1)
        return self.conv2(functional.relu(self.bn(self.conv1(x)))).flatten(1)


class Network(nn.Module):
    """Encoder, decoder and, with `head="a3"`, classifier; 2,930,708 parameters at four classes."""

    def __init__(self, classes: int, head: str = "a3", decoder: str = "paper"):
        super().__init__()
        self.encoder = Encoder()
        self.decoder = Decoder(classes) if decoder == "paper" else SkipDecoder(classes)
        self.classifier = Classifier(classes) if head == "a3" else None

    def forward(self, image: Tensor) -> Tensor:
        """Normalised RGB f32[B,3,H,W] to low-resolution logits f32[B,C,H/8,W/8]; with `skip` H/4, W/4."""
        if isinstance(self.decoder, SkipDecoder):
            return self.decoder(*self.encoder.features(image))
        return self.decoder(self.encoder(image))

    def classify(self, coarse_logits: Tensor) -> Tensor:
        """Low-resolution logits to class logits f32[B,C]."""
        return coarse_logits.amax((2, 3)) if self.classifier is None else self.classifier(coarse_logits)


def losses(
    network: Network,
    image: Tensor,
    mask: Tensor,
    label: Tensor,
    has_mask: Tensor,
    has_label: Tensor,
    seg_weights: Tensor,
    cls_weights: Tensor,
) -> tuple[Tensor, Tensor]:
    """L_seg of the rows with a mask and L_cls of those with a label, after one forward pass of all rows.

    Args:
      network: in train or eval mode.
      image: normalised RGB, f32[B,3,H,W].
      mask: class codes i64[B,H,W], 255 where ignored.
      label: class codes i64[B].
      has_mask: bool[B].
      has_label: bool[B]; only these rows pass through the classifier and its batch statistics.
      seg_weights: f32[C].
      cls_weights: f32[C].
    """
    coarse_logits = network(image)
    full = functional.interpolate(coarse_logits[has_mask], image.shape[2:], mode="nearest")
    loss_seg = functional.cross_entropy(full, mask[has_mask], seg_weights, ignore_index=IGNORE_PIXEL)
    class_logits = network.classify(coarse_logits[has_label])
    loss_cls = functional.cross_entropy(class_logits, label[has_label], cls_weights)
    return loss_seg, loss_cls


def make_optimizer(network: Network, learning_rate: float = 1e-4) -> torch.optim.Adam:
    """Adam as in section 2.3."""
    return torch.optim.Adam(network.parameters(), lr=learning_rate, betas=(0.9, 0.999), eps=1e-8)


def from_flax(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Tensor]:
    """Parameters or batch statistics (or gradients) of `l2s_jax` under this module's key names."""
    names = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
    modules = {"downsample_conv": "downsample.0", "downsample_bn": "downsample.1"}
    out: dict[str, Tensor] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            module = modules.get(name, name.replace("_", "."))
            out |= from_flax(value, f"{prefix}{module}.")
        else:
            array = np.asarray(value)
            parameter = name.replace("logits_", "logits.")
            *head, last = parameter.split(".")
            key = ".".join([*head, names.get(last, last)])
            array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array
            out[prefix + key] = torch.tensor(array)
    return out


def load_flax(network: Network, variables: Mapping[str, Any]) -> Network:
    """Gives `network` the weights and running statistics of `l2s_jax`; returns it."""
    state = from_flax(variables["params"]) | from_flax(variables["batch_stats"])
    missing, unexpected = network.load_state_dict(state, strict=False)
    missing = [key for key in missing if not key.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise ValueError(f"weights do not match: missing {missing}, unexpected {unexpected}")
    return network
