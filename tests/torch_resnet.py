"""The network in PyTorch, by torchvision's names: what ported and exported weights are held against."""

import torch
from torch import nn


class BasicBlock(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            projection = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet18(nn.Module):
    """All of it, layer4 and fc included; `forward` stops at layer3."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = nn.Sequential(BasicBlock(64, 64, 1), BasicBlock(64, 64, 1))
        self.layer2 = nn.Sequential(BasicBlock(64, 128, 2), BasicBlock(128, 128, 1))
        self.layer3 = nn.Sequential(BasicBlock(128, 256, 2), BasicBlock(256, 256, 1))
        self.layer4 = nn.Sequential(BasicBlock(256, 512, 2), BasicBlock(512, 512, 1))
        self.fc = nn.Linear(512, 1000)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        x = nn.functional.max_pool2d(x, 3, 2, 1)
        return self.layer3(self.layer2(self.layer1(x)))


class Decoder(nn.Module):
    """Table A.2, up to the low-resolution logits, in the paper's order."""

    def __init__(self, classes):
        super().__init__()
        self.conv = nn.Conv2d(256, 64, 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(64)
        self.logits = nn.Conv2d(64, classes, 1)

    def forward(self, x):
        x = torch.relu(self.bn(self.conv(x)))
        return self.logits(nn.functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True))


class Classifier(nn.Module):
    """Table A.3."""

    def __init__(self, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(classes, 8, 1, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, classes, 1, bias=False)

    def forward(self, x):
        x = torch.relu(self.bn(self.conv1(x.mean((2, 3), keepdim=True))))
        return self.conv2(x)[:, :, 0, 0]


class TorchL2S(ResNet18):
    def __init__(self, classes):
        super().__init__()
        del self.layer4, self.fc
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
