"""A trained network as a graph: raw RGB to class probabilities of each pixel, scaling included."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from l2s_jax.exports.graph import Graph
from l2s_jax.models.encoder import BLOCKS, STAGES
from l2s_jax.models.network import DECODERS
from l2s_jax.stain.fit import INTENSITY
from l2s_jax.types import DecoderName

INPUT, STAIN_INPUT = "rgb", "stain_map"
OUTPUTS = ("probabilities", "class_logits")


def network_graph(
    variables: Mapping[str, Any],
    mean: Sequence[float],
    std: Sequence[float],
    head: str,
    decoder: DecoderName = "paper",
    *,
    half: bool = False,
    stain: np.ndarray | Literal["input"] | None = None,
    outputs: Sequence[str] = OUTPUTS,
    largest: Literal[1, 255] = 255,
    temperature: float | None = None,
) -> Graph:
    """The graph of a network; its arrays are float32, or float16 for the weights of encoder and decoder.

    Input `rgb` f32[N,3,H,W], red, green and blue in 0..255; any N, and H and W multiples of 16. With `stain`
    "input", `stain_map` f32[3,3] too, the change between optical densities that `stain_map.py` works out; the
    array of that name, the identity, which leaves pictures as they are, is the default. Outputs
    `probabilities` f32[N,C,H,W] and `class_logits` f32[N,C].

    Args:
      variables: `params` and `batch_stats`.
      mean: channel means of RGB in 0..1.
      std: channel standard deviations of RGB in 0..1.
      head: the classifier, `a3` or `max`.
      decoder: the segmentation module, `paper` or `skip`.
      half: compute encoder and decoder in float16; inputs and outputs stay float32.
      stain: "input", for a network that learned from normalised stains; or f32[3,3], the change for pictures
        of certain stains, built in; None takes pictures as they are.
      outputs: those wanted.
      largest: what is white in `rgb`. 1 is for programs that scale to 0..1 themselves; grey levels are then
        made whole again.
      temperature: by which mask logits are divided before they become probabilities, where one was fitted.

    Raises:
      UserError: float16 cannot hold the weights.
    """
    graph = Graph(np.float16 if half else np.float32, outputs)
    params, statistics = variables["params"], variables["batch_stats"]
    image = INPUT
    if largest == 1:
        levels = graph.add("Mul", [INPUT, graph.constant("white_level", 255.0)], "rgb_levels")
        image = graph.add("Round", [levels], "rgb_whole_levels")
    if isinstance(stain, np.ndarray):
        image = _in_other_stains(graph, image, stain)
    elif stain == "input":
        image = _in_stains_of_run(graph, image)
    image = _scaled(graph, image, mean, std)
    features = _encoder(graph, image, params["encoder"], statistics["encoder"])
    build = {"paper": _paper_decoder, "skip": _skip_decoder}[decoder]
    coarse = build(graph, features, params["decoder"], statistics["decoder"])
    calibrated = coarse
    if temperature is not None:
        by = graph.constant("temperature", temperature)
        calibrated = graph.add("Div", [coarse, by], "calibrated_logits")
    probabilities = graph.add("Softmax", [calibrated], "coarse_probabilities", axis=1)
    _enlarged(graph, probabilities, DECODERS[decoder].cell)
    _classifier(graph, coarse, head, params, statistics)
    return graph.without_unused()


def _minus_density(graph: Graph, image: str) -> str:
    light = graph.add("Add", [image, graph.constant("one", 1.0)], "light")
    share = graph.add("Div", [light, graph.constant("intensity", INTENSITY)], "share_of_light")
    return graph.add("Log", [share], "minus_density")


def _from_minus_density(graph: Graph, mixed: str) -> str:
    """Whole grey levels."""
    light = graph.add("Mul", [graph.add("Exp", [mixed], "mixed_share"), "intensity"], "mixed_light")
    light = graph.add("Min", [light, graph.constant("white", 255.0)], "mixed_light_cut")
    return graph.add("Floor", [light], "mixed_rgb")


def _in_other_stains(graph: Graph, image: str, change: np.ndarray) -> str:
    """The picture in other stains by one map, as a convolution, which all programs have."""
    density = _minus_density(graph, image)
    kernel = graph.constant("stain_map_built_in", np.asarray(change, np.float32)[:, :, None, None])
    mixed = graph.add("Conv", [density, kernel], "mixed", kernel_shape=[1, 1], strides=[1, 1], pads=[0] * 4)
    return _from_minus_density(graph, mixed)


def _in_stains_of_run(graph: Graph, image: str) -> str:
    """The picture in other stains; itself where the map is the identity."""
    graph.constants[STAIN_INPUT] = np.eye(3, dtype=np.float32)
    density = _minus_density(graph, image)
    density = graph.add("Transpose", [density], "minus_density_last", perm=[0, 2, 3, 1])
    change = graph.add("Transpose", [STAIN_INPUT], "stain_map_last", perm=[1, 0])
    mixed = graph.add("MatMul", [density, change], "mixed_last")
    mixed = graph.add("Transpose", [mixed], "mixed", perm=[0, 3, 1, 2])
    light = _from_minus_density(graph, mixed)
    apart = graph.add("Sub", [STAIN_INPUT, graph.constant("identity", np.eye(3))], "apart_from_identity")
    apart = graph.add("ReduceMax", [graph.add("Abs", [apart], "apart_sizes")], "furthest_apart", keepdims=0)
    other = graph.add("Sign", [apart], "changed")
    same = graph.add("Sub", ["one", other], "as_they_are")
    parts = graph.add("Mul", [image, same], "rgb_kept"), graph.add("Mul", [light, other], "rgb_changed")
    return graph.add("Add", parts, "rgb_seen")


def _scaled(graph: Graph, image: str, mean: Sequence[float], std: Sequence[float]) -> str:
    """RGB in 0..255 to what the network takes."""
    image = graph.add("Div", [image, graph.constant("grey_levels", 255.0)], "rgb_0_1")
    offset, scale = (np.asarray(values, np.float32).reshape(1, 3, 1, 1) for values in (mean, std))
    image = graph.add("Sub", [image, graph.constant("mean", offset)], "rgb_centred")
    image = graph.add("Div", [image, graph.constant("std", scale)], "rgb_scaled")
    if graph.dtype is np.float16:
        image = graph.add("Cast", [image], "rgb_half", to=np.float16)
    return image


def _encoder(graph: Graph, x: str, params: Any, statistics: Any) -> list[str]:
    """Its features after layer1, layer2 and layer3."""

    def convolve(x: str, name: str, at: Sequence[str], conv: str, norm: str, stride: int) -> str:
        own, own_statistics = params, statistics
        for part in at:
            own, own_statistics = own[part], own_statistics[part]
        return graph.convolution(
            x, name, own[conv]["kernel"], (own[norm], own_statistics[norm]), stride=stride
        )

    x = graph.add("Relu", [convolve(x, "stem", (), "conv1", "bn1", 2)], "stem_relu")
    x = graph.add("MaxPool", [x], "stem_pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    after = []
    for stage, (_, first_stride) in enumerate(STAGES, start=1):
        for block in range(BLOCKS):
            at, stride = f"layer{stage}_{block}", first_stride if block == 0 else 1
            y = convolve(x, f"{at}_conv1", (at,), "conv1", "bn1", stride)
            y = convolve(graph.add("Relu", [y], f"{at}_relu1"), f"{at}_conv2", (at,), "conv2", "bn2", 1)
            if "downsample_conv" in params[at]:
                x = convolve(x, f"{at}_project", (at,), "downsample_conv", "downsample_bn", stride)
            x = graph.add("Relu", [graph.add("Add", [x, y], f"{at}_sum")], f"{at}_relu2")
        after.append(x)
    return after


def _paper_decoder(graph: Graph, features: Sequence[str], params: Any, statistics: Any) -> str:
    """Logits at an eighth of the picture's height and width, f32[N,C,H/8,W/8]."""
    x = _features_of_decoder(graph, features[-1], "", params, statistics)
    return _doubled(graph, _logits(graph, x, params), "coarse_logits")


def _skip_decoder(graph: Graph, features: Sequence[str], params: Any, statistics: Any) -> str:
    """Logits at a quarter of the picture's height and width, f32[N,C,H/4,W/4]."""
    layer1, layer2, layer3 = features
    x = _features_of_decoder(graph, layer3, "", params, statistics)
    for name, finer in (("lateral2", layer2), ("lateral1", layer1)):
        above = _doubled(graph, x, f"decoder_above_{name}")
        beside = graph.convolution(finer, f"decoder_{name}", params[name]["kernel"])
        x = graph.add("Add", [above, beside], f"decoder_with_{name}")
    x = _features_of_decoder(graph, x, "2", params, statistics)
    return _logits(graph, x, params)


def _features_of_decoder(graph: Graph, x: str, number: str, params: Any, statistics: Any) -> str:
    """A 3x3 convolution of the decoder with its batch norm and ReLU; `number` ends its names."""
    norm = params[f"bn{number}"], statistics[f"bn{number}"]
    x = graph.convolution(x, f"decoder_conv{number}", params[f"conv{number}"]["kernel"], norm)
    return graph.add("Relu", [x], f"decoder_relu{number}")


def _logits(graph: Graph, x: str, params: Any) -> str:
    """The decoder's last convolution, in float32 behind it."""
    x = graph.convolution(x, "decoder_logits", params["logits_kernel"], bias=params["logits_bias"])
    if graph.dtype is np.float16:
        x = graph.add("Cast", [x], "decoder_logits_single", to=np.float32)
    return x


def _doubled(graph: Graph, x: str, name: str) -> str:
    """Twice as high and wide, bilinearly, corners aligned."""
    return _resized(graph, x, name, 2, mode="linear", coordinate_transformation_mode="align_corners")


def _enlarged(graph: Graph, x: str, cell: int) -> str:
    return _resized(
        graph, x, OUTPUTS[0], cell,
        mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor",
    )  # fmt: skip


def _resized(graph: Graph, x: str, name: str, times: int, **how: str) -> str:
    scales = graph.constant(f"{name}_scales", [1, 1, times, times])
    return graph.add("Resize", [x, "", scales], name, **how)


def _classifier(graph: Graph, coarse: str, head: str, params: Any, statistics: Any) -> str:
    if head == "max":
        pooled = graph.add("GlobalMaxPool", [coarse], "largest_logits")
        return graph.add("Flatten", [pooled], OUTPUTS[1], axis=1)
    graph.dtype = np.float32
    own, norm = params["classifier"], statistics["classifier"]["bn"]
    x = graph.add("GlobalAveragePool", [coarse], "mean_logits")
    x = graph.convolution(x, "classifier_conv1", own["conv1"]["kernel"], (own["bn"], norm))
    x = graph.add("Relu", [x], "classifier_relu")
    x = graph.convolution(x, "classifier_conv2", own["conv2"]["kernel"])
    return graph.add("Flatten", [x], OUTPUTS[1], axis=1)
