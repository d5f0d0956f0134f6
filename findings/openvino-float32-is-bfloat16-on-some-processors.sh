#!/usr/bin/env bash
# Guess: an ONNX file in float32 gives the same class map on every processor, last digits apart.
# What happens: on processors that multiply in bfloat16 (AMX, AVX512-BF16) OpenVINO computes it in bfloat16 of itself; on
#   others in float32. In and outputs are float32 in both. Of drawn noise 0.2 to 0.4% of the pixels get another class, at
#   0.5 to 1% of the largest logit. `INFERENCE_PRECISION_HINT` f32 or `EXECUTION_MODE_HINT` ACCURACY undo it.
# Why it matters here: the areas of a slide depend on the machine that the viewer runs on, and no file says so. On a
#   processor without bfloat16 this script cannot run.
# Seen: 2026-12-02, openvino 2026.4.1, onnx 1.23.2, Python 3.11, an Intel Xeon with AMX.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
grep -qE "amx_bf16|avx512_bf16" /proc/cpuinfo 2>/dev/null || could_not_run "the processor has no bfloat16"
packages 'openvino==2026.4.1' 'onnx==1.23.2' 'numpy==2.4.6'
seen <<'TEXT'
as it is: computed in bf16, outputs in float32
    largest difference over the largest logit between 0.002 and 0.02: True
    share of pixels with another class between 0.001 and 0.01: True
INFERENCE_PRECISION_HINT f32: computed in f32, outputs in float32
    largest difference over the largest logit below 0.00001: True
    share of pixels with another class 0: True
EXECUTION_MODE_HINT ACCURACY: computed in dynamic, outputs in float32
    largest difference over the largest logit below 0.00001: True
    share of pixels with another class 0: True
TEXT
observe <<'PYTHON'
import numpy as np
import onnx
import openvino
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

SIDE, CHANNELS = 64, (3, 64, 64, 64, 4)
rng = np.random.default_rng(0)
nodes, weights, last = [], [], "rgb"
for number, (wide, out) in enumerate(zip(CHANNELS, CHANNELS[1:])):
    kernel = rng.normal(0, np.sqrt(2 / (9 * wide)), (out, wide, 3, 3)).astype(np.float32)
    weights.append(numpy_helper.from_array(kernel, f"kernel{number}"))
    nodes.append(helper.make_node("Conv", [last, f"kernel{number}"], [f"map{number}"], pads=[1] * 4))
    last = f"map{number}"
    if number < len(CHANNELS) - 2:
        nodes.append(helper.make_node("Relu", [last], [f"relu{number}"]))
        last = f"relu{number}"
inputs = [helper.make_tensor_value_info("rgb", TensorProto.FLOAT, [1, 3, SIDE, SIDE])]
outputs = [helper.make_tensor_value_info(last, TensorProto.FLOAT, [1, 4, SIDE, SIDE])]
graph = helper.make_graph(nodes, "network", inputs, outputs, weights)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
onnx.save(model, "network.onnx")

picture = rng.normal(size=(1, 3, SIDE, SIDE)).astype(np.float32)
truth = ReferenceEvaluator(model).run(None, {"rgb": picture})[0]
core = openvino.Core()
for name, options in (
    ("as it is", {}),
    ("INFERENCE_PRECISION_HINT f32", {"INFERENCE_PRECISION_HINT": "f32"}),
    ("EXECUTION_MODE_HINT ACCURACY", {"EXECUTION_MODE_HINT": "ACCURACY"}),
):
    program = core.compile_model("network.onnx", "CPU", options)
    found = program(picture)[0]
    kind = program.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    print(f"{name}: computed in {kind}, outputs in {found.dtype}")
    worst = np.abs(found - truth).max() / np.abs(truth).max()
    other = (found.argmax(1) != truth.argmax(1)).mean()
    if options:
        print(f"    largest difference over the largest logit below 0.00001: {worst < 1e-5}")
        print(f"    share of pixels with another class 0: {other == 0}")
    else:
        print(f"    largest difference over the largest logit between 0.002 and 0.02: {0.002 < worst < 0.02}")
        print(f"    share of pixels with another class between 0.001 and 0.01: {0.001 < other < 0.01}")
PYTHON
