"""The least time that a train step can take on some GPUs, from their published peaks: benchmarks/roofline.md.

    python benchmarks/roofline.py [--batch 20] [--patch 128]

Nothing is measured. The work of a step is counted twice: by hand from the network's tables, and by XLA's cost
analysis of the step as it is lowered with plain convolutions. Run it again after a change to the network.
"""

import argparse
import os
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).parent / "roofline.md"
CLASSES = 4
PAPER_RATE = 273  # patches a second: 1015 patches x 100 epochs in 6.2 minutes on a GTX 1080 (section 2.3)


class Convolution(NamedTuple):
    """One convolution of the network, on one patch."""

    name: str
    side: int  # of its output
    size: int  # of its kernel
    stride: int
    inputs: int
    outputs: int
    normalised: bool = True  # batch norm follows

    def multiplications(self) -> int:
        """Multiply-adds of the forward pass."""
        return self.side**2 * self.size**2 * self.inputs * self.outputs

    def weights(self) -> int:
        """Values of the kernel."""
        return self.size**2 * self.inputs * self.outputs


class Device(NamedTuple):
    """Published peaks, without sparsity."""

    name: str
    teraflops: dict[str, float]
    gigabytes_per_s: float
    source: str


DEVICES = (
    Device("GTX 1080", {"float32": 8.87}, 320, "2560 cores x 2 x 1.733 GHz boost; 256-bit GDDR5X at 10 GT/s"),
    Device("A100 SXM 80 GB", {"float32": 19.5, "TF32": 156, "bfloat16": 312}, 2039, "NVIDIA A100 data sheet"),
    Device(
        "H100 SXM 80 GB", {"float32": 66.9, "TF32": 494.7, "bfloat16": 989.4}, 3350, "NVIDIA H100 data sheet"
    ),
    Device("H200 SXM", {"float32": 66.9, "TF32": 494.7, "bfloat16": 989.4}, 4800, "NVIDIA H200 data sheet"),
)
BYTES_OF = {"float32": 4, "TF32": 4, "bfloat16": 2}
"""Of an activation; parameters and Adam's moments are float32 in any case."""


def network(patch: int) -> list[Convolution]:
    """The convolutions for patches of a side, in order."""
    out = [Convolution("stem", patch // 2, 7, 2, 3, 64)]
    inputs, side = 64, patch // 4
    for stage, (outputs, stride) in enumerate(((64, 1), (128, 2), (256, 2)), 1):
        side //= stride
        for block in range(2):
            first = stride if block == 0 else 1
            out.append(Convolution(f"layer{stage}", side, 3, first, inputs, outputs))
            out.append(Convolution(f"layer{stage}", side, 3, 1, outputs, outputs))
            if first != 1 or inputs != outputs:
                out.append(Convolution(f"layer{stage}", side, 1, first, inputs, outputs))
            inputs = outputs
    out.append(Convolution("decoder", side, 3, 1, 256, 64))
    out.append(Convolution("decoder", side, 1, 1, 64, CLASSES, normalised=False))
    return out


def flops(convolutions: list[Convolution], batch: int) -> float:
    """Of the convolutions of a step: forward, weight gradient, and input gradient of all but the first."""
    forward = sum(2 * one.multiplications() for one in convolutions)
    return batch * (3 * forward - 2 * convolutions[0].multiplications())


def least_bytes(convolutions: list[Convolution], batch: int, width: int) -> float:
    """Traffic of a step if every operation reads its operands and writes its result once.

    Each convolution: input and output forward, gradient and input for the weight gradient, gradient and its
    result for the input gradient. Each batch norm with its ReLU: two readings (statistics, then values) and a
    writing forward; two readings of value and gradient and a writing backward. Adam: gradient, value and two
    moments read, value and moments written.
    """
    total = 0.0
    for one in convolutions:
        out = one.side**2 * one.outputs
        into = (one.side * one.stride) ** 2 * one.inputs
        total += batch * width * ((into + out) + (into + out) + (into + out))
        total += batch * width * (3 * out + 5 * out) if one.normalised else 0
    parameters = sum(one.weights() + 2 * one.outputs for one in convolutions)
    return total + 4 * 7 * parameters


def counted_by_xla(batch: int, patch: int) -> dict[str, float]:
    """FLOPs by XLA's cost analysis of the lowered step, before any optimisation; convolutions plain."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    from l2s_jax.models import convolution
    from l2s_jax.train_step.step import jit_train_step
    from train_step import jax_parts

    convolution.MANY_PRODUCTS = 10**15
    options = argparse.Namespace(batch=batch, patch=patch, device="cpu", tf32=False, augment=False)
    step, state_of, arrays = jax_parts(options)
    return jit_train_step(step).lower(state_of(0), arrays).cost_analysis()  # type: ignore[attr-defined]


def rows(batch: int, convolutions: list[Convolution]) -> list[str]:
    """A line of the table for each device and type."""
    out = []
    for device in DEVICES:
        for kind, peak in device.teraflops.items():
            compute = flops(convolutions, batch) / (peak * 1e12)
            memory = least_bytes(convolutions, batch, BYTES_OF[kind]) / (device.gigabytes_per_s * 1e9)
            floor = max(compute, memory)
            bound = "arithmetic" if compute > memory else "memory"
            out.append(
                f"| {device.name} | {kind} | {peak:g} | {device.gigabytes_per_s:g} | {compute * 1e3:.2f} | "
                f"{memory * 1e3:.2f} | {floor * 1e3:.2f} | {bound} | {batch / floor:,.0f} |"
            )
    return out


def page(batch: int, patch: int) -> str:
    """The whole of roofline.md."""
    convolutions = network(patch)
    by_hand, by_xla = flops(convolutions, batch), counted_by_xla(batch, patch)["flops"]
    traffic = least_bytes(convolutions, batch, 4)
    of_paper = PAPER_RATE * by_hand / batch / 1e12
    share = of_paper / DEVICES[0].teraflops["float32"]
    heading = ("device", "type", "TFLOP/s", "GB/s", "arithmetic ms", "memory ms", "floor ms", "bound by")
    sources = "; ".join(f"{device.name}: {device.source}" for device in DEVICES)
    return f"""# Roofline of the train step on GPUs

**Calculated from published peaks, not measured**; the paper's own figure, at the end, is what
it prints. What an H200 took is in [README.md](README.md#on-a-gpu). Made by
`python benchmarks/roofline.py --batch {batch} --patch {patch}`.

A step of {batch} patches of {patch} x {patch} at {CLASSES} classes:

- {by_hand / 1e9:.1f} GFLOP by hand: two for each multiply-add of a convolution, forward, weight gradient and
  input gradient (which the stem does not need).
- {by_xla / 1e9:.1f} GFLOP by XLA's cost analysis of the lowered step, batch norm, losses and Adam included;
  it does not count products with the zeros of padding.
- {traffic / 1e9:.2f} GB of memory traffic in float32 if every operation reads its operands and writes its
  result once, batch norm fused with ReLU; half of the activations' share in bfloat16.

The floor is the greater of arithmetic at peak and traffic at peak bandwidth. Real steps take longer:
convolutions of 64 to 256 channels on 8 to 64 pixels a side do not fill a large GPU at batch 20, and a step
launches several hundred kernels.

| {" | ".join(heading)} | patches/s at the floor |
|{"---|" * (len(heading) + 1)}
{chr(10).join(rows(batch, convolutions))}

Peaks are dense, without sparsity. {sources}.

The paper's own figure: {PAPER_RATE} patches/s on a GTX 1080 (1,015 patches x 100 epochs in 6.2 minutes,
section 2.3), data loading and all. That is {of_paper:.2f} TFLOP/s of convolutions, {share:.0%} of the peak.
"""


def main() -> None:
    """Writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--patch", type=int, default=128)
    options = parser.parse_args()
    text = page(options.batch, options.patch)
    PAGE.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
