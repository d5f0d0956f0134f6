"""Training in plain PyTorch, from PNG files to a run folder: what `whole_train.py` compares `l2s train` with.

    python benchmarks/torch_train.py MANIFEST --out RUN [--setting S+C*] [--percent 100] [--steps 400] ...

As one would write it without this package, on the network and the losses of `torch_reference.py`: a
DataLoader with workers that decode each patch and its mask every time, turns and flips, torchvision's colour
jitter on PIL pictures, Adam, validation by pooled macro F1, a checkpoint at each validation and one of the
best. The options mean what they mean to `l2s train`. The manifest is believed as it is; there are no events,
figures or report, and a run that is cut off cannot be resumed.
"""

import argparse
import csv
import random
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageEnhance
from torch.utils.data import DataLoader, Dataset, Sampler
from torch_reference import IGNORE_PIXEL, Network, losses, make_optimizer

MEAN, STD = (torch.tensor(v)[None, :, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
BRIGHTNESS, CONTRAST, SATURATION, HUE = 0.25, 0.75, 0.25, 0.04


class Patches(Dataset):
    """Rows of a manifest: image u8[3,H,W], mask i64[H,W], label, and whether the two may be learned from."""

    def __init__(
        self, rows: Sequence[dict[str, str]], folder: Path, classes: Sequence[dict], with_mask: set[int]
    ):
        self.rows, self.folder, self.with_mask = rows, folder, with_mask
        self.label = [[one["name"] for one in classes].index(row["label"]) for row in rows]
        self.has_label = [True] * len(rows)
        self.augment = False
        self.code = np.full(256, IGNORE_PIXEL, np.uint8)
        for code, one in enumerate(classes):
            self.code[one["pixel_value"]] = code

    def __len__(self) -> int:
        return len(self.rows)

    def that_have_masks(self) -> list[int]:
        """Rows that name a mask."""
        return [index for index, row in enumerate(self.rows) if row["mask"]]

    def mask(self, index: int) -> np.ndarray:
        """Class codes u8[H,W]."""
        return self.code[np.array(Image.open(self.folder / self.rows[index]["mask"]).convert("L"))]

    def __getitem__(self, index: int) -> tuple:
        image = Image.open(self.folder / self.rows[index]["image"]).convert("RGB")
        pixels, mask = np.array(jittered(image) if self.augment else image), None
        if index in self.with_mask:
            mask = self.mask(index)
        mask = np.full(pixels.shape[:2], IGNORE_PIXEL, np.uint8) if mask is None else mask
        if self.augment:
            turns, flip = random.randrange(4), random.random() < 0.5
            pixels, mask = np.rot90(pixels, turns), np.rot90(mask, turns)
            pixels, mask = (pixels[:, ::-1], mask[:, ::-1]) if flip else (pixels, mask)
        image_tensor = torch.from_numpy(pixels.transpose(2, 0, 1).copy())
        mask_tensor = torch.from_numpy(mask.astype(np.int64))
        return image_tensor, mask_tensor, self.label[index], index in self.with_mask, self.has_label[index]


def jittered(image: Image.Image) -> Image.Image:
    """The ColorJitter(0.25, 0.75, 0.25, 0.04) of torchvision on a PIL picture, in random order."""

    def hue(picture: Image.Image, shift: float) -> Image.Image:
        h, s, v = picture.convert("HSV").split()
        turned = (np.array(h).astype(np.int16) + round(shift * 255)) % 256
        return Image.merge("HSV", (Image.fromarray(turned.astype(np.uint8)), s, v)).convert("RGB")

    enhance = (
        (ImageEnhance.Brightness, BRIGHTNESS),
        (ImageEnhance.Contrast, CONTRAST),
        (ImageEnhance.Color, SATURATION),
    )
    for number in random.sample(range(4), 4):
        if number == 3:
            image = hue(image, random.uniform(-HUE, HUE))
        else:
            kind, most = enhance[number]
            image = kind(image).enhance(random.uniform(1 - most, 1 + most))
    return image


class Balanced(Sampler):
    """Half of each batch from the patches with a mask, half from those with a label, for all steps."""

    def __init__(self, masks: Sequence[int], labels: Sequence[int], batch: int, steps: int):
        self.kinds, self.half, self.steps = (masks, labels), batch // 2, steps

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[int]]:
        def forever(rows: Sequence[int]) -> Iterator[int]:
            while True:
                yield from random.sample(rows, len(rows))

        streams = [forever(rows) for rows in self.kinds]
        for _ in range(self.steps):
            yield [next(stream) for stream in streams for _ in range(self.half)]


class Shuffled(Sampler):
    """Every patch once an epoch, for all steps; the last batch of an epoch is smaller."""

    def __init__(self, rows: int, batch: int, steps: int):
        self.rows, self.batch, self.steps = rows, batch, steps

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[int]]:
        left = self.steps
        while left:
            order = random.sample(range(self.rows), self.rows)
            for start in range(0, self.rows, self.batch)[:left]:
                yield order[start : start + self.batch]
                left -= 1


def some_of_each_class(patches: Patches, percent: float) -> set[int]:
    """A share of the rows that have a mask, about as large in each class."""
    chosen: set[int] = set()
    for code in sorted(set(patches.label)):
        rows = [row for row in patches.that_have_masks() if patches.label[row] == code]
        chosen |= set(random.sample(rows, round(len(rows) * percent / 100)))
    return chosen


def inverse_frequency(counts: np.ndarray) -> torch.Tensor:
    """Class weights f32[C], the rarest class's 1, absent classes' 0."""
    least = counts[counts > 0].min()
    weights = np.divide(least, counts, out=np.zeros(len(counts)), where=counts > 0)
    return torch.tensor(weights, dtype=torch.float32)


@torch.inference_mode()
def validate(network: Network, loader: DataLoader, classes: int, layout: torch.memory_format) -> float:
    """Pooled macro F1 of the classes that occur."""
    network.eval()
    matrix = np.zeros((classes, classes), np.int64)
    for image, mask, *_ in loader:
        coarse = network(normalised(image, layout))
        found = torch.nn.functional.interpolate(coarse, scale_factor=8, mode="nearest").argmax(1)
        known = mask != IGNORE_PIXEL
        pairs = mask[known] * classes + found[known]
        matrix += np.bincount(pairs.numpy(), minlength=classes**2).reshape(classes, classes)
    network.train()
    total = matrix.sum(0) + matrix.sum(1)
    f1 = np.divide(2 * np.diag(matrix), total, out=np.zeros(classes), where=total > 0)
    return float(f1[matrix.sum(1) > 0].mean())


def normalised(image: torch.Tensor, layout: torch.memory_format) -> torch.Tensor:
    """u8[B,3,H,W] to f32, by ImageNet's means and deviations."""
    return ((image.float() / 255 - MEAN) / STD).contiguous(memory_format=layout)


def main() -> None:
    """Trains."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--setting", default="S+C*", choices=["S+C", "S+C*"])
    parser.add_argument("--percent", type=float, default=100.0)
    parser.add_argument("--composition", default="shuffled", choices=["shuffled", "balanced"])
    parser.add_argument("--batch-size", type=int, default=20)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--validate-steps", type=int, default=40)
    parser.add_argument("--workers", type=int, default=2, help="of the DataLoader")
    parser.add_argument("--channels-last", action="store_true", help="PyTorch's best memory layout on a CPU")
    options = parser.parse_args()
    random.seed(0)
    torch.manual_seed(0)
    classes = tomllib.loads((options.manifest / "classes.toml").read_text())["class"]
    with (options.manifest / "patches.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    splits = {name: [row for row in rows if row["split"] == name] for name in ("train", "val")}
    train = Patches(splits["train"], options.manifest, classes, set())
    train.with_mask, train.augment = some_of_each_class(train, options.percent), True
    if options.setting == "S+C":
        train.has_label = [row not in train.with_mask for row in range(len(train))]
    val = Patches(splits["val"], options.manifest, classes, set())
    val.with_mask = set(val.that_have_masks())
    pixels = sum(np.bincount(train.mask(row).ravel(), minlength=256) for row in train.with_mask)
    labels = [label for label, used in zip(train.label, train.has_label, strict=True) if used]
    seg_weights = inverse_frequency(np.asarray(pixels)[: len(classes)])
    cls_weights = inverse_frequency(np.bincount(labels, minlength=len(classes)))
    if options.composition == "balanced":
        with_label = [row for row, used in enumerate(train.has_label) if used]
        order = Balanced(sorted(train.with_mask), with_label, options.batch_size, options.steps)
    else:
        order = Shuffled(len(train), options.batch_size, options.steps)
    loader = DataLoader(train, batch_sampler=order, num_workers=options.workers)
    val_loader = DataLoader(val, batch_size=options.batch_size)
    layout = torch.channels_last if options.channels_last else torch.contiguous_format
    network = Network(len(classes)).to(memory_format=layout).train()
    optimizer = make_optimizer(network, options.learning_rate)
    options.out.mkdir(parents=True)
    best, sums, metrics = -1.0, [], options.out / "metrics.csv"
    metrics.write_text("step,loss,val_macro_f1\n")
    for number, (image, mask, label, has_mask, has_label) in enumerate(loader, start=1):
        optimizer.zero_grad()
        parts = losses(
            network, normalised(image, layout), mask, label, has_mask, has_label, seg_weights, cls_weights
        )
        # A batch without masks, or without labels, has a mean over nothing there.
        loss = sum(part for part, used in zip(parts, (has_mask, has_label), strict=True) if used.any())
        loss.backward()
        optimizer.step()
        sums.append(loss.item())
        if number % options.validate_steps and number < options.steps:
            continue
        score = validate(network, val_loader, len(classes), layout)
        with metrics.open("a") as file:
            file.write(f"{number},{np.mean(sums):.4f},{score:.4f}\n")
        print(f"step {number}: loss {np.mean(sums):.4f}, validation macro F1 {score:.4f}", flush=True)
        sums = []
        state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "step": number}
        torch.save(state, options.out / "last.pt")
        if score > best:
            best = score
            torch.save(state["network"], options.out / "best.pt")


if __name__ == "__main__":
    main()
