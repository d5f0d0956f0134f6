"""The reference's parts under torchvision's names: what ported and exported weights are held against."""

import sys
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from torch_reference import BasicBlock, Classifier, Decoder, Encoder  # noqa: E402


class ResNet18(Encoder):
    """All of it, layer4 and fc included; `forward` stops at layer3."""

    def __init__(self):
        super().__init__()
        self.layer4 = nn.Sequential(BasicBlock(256, 512, 2), BasicBlock(512, 512, 1))
        self.fc = nn.Linear(512, 1000)


class TorchL2S(Encoder):
    """The encoder's names without a prefix, as in an exported file."""

    def __init__(self, classes):
        super().__init__()
        self.decoder = Decoder(classes)
        self.classifier = Classifier(classes)

    def forward(self, x):
        coarse = self.decoder(super().forward(x))
        return nn.functional.interpolate(coarse, scale_factor=8), self.classifier(coarse)


def randomise_statistics(model, seed=0):
    """Gives every batch norm running statistics and an affine map that are not the initial ones."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                tensor.data.uniform_(0.5, 1.5, generator=generator)
            for tensor in (module.bias, module.running_mean):
                tensor.data.normal_(0, 0.2, generator=generator)
    return model.eval()
