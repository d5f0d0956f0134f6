"""Batches, tasks and states are of the shapes and types that their fields promise."""

import jax
import numpy as np

from helpers.runs import TINY, blank_task
from helpers.seeds import MODEL, OPTIMIZER, SIZE, B, batch
from helpers.seeds import task as some_task
from helpers.shapes import wrong_fields
from l2s_jax.data.manifest import read_manifest
from l2s_jax.data.patch_set import load_patches
from l2s_jax.models.forward import Network, make_forward
from l2s_jax.models.network import Outputs, init_variables
from l2s_jax.train_step.step import init_state
from l2s_jax.training.plan import plan_run
from l2s_jax.training.program import batch_of
from l2s_jax.types import of_one_size


def test_what_a_run_makes_is_as_promised(phantom):
    manifest = read_manifest(phantom)
    patches = load_patches(manifest.of_split("train"), manifest.classes, 1)
    plan = plan_run(TINY, patches, manifest.classes)
    made = batch_of(plan, 0)
    assert wrong_fields(made) == [] and wrong_fields(of_one_size([made], multiple=3)[0]) == []
    assert wrong_fields(plan.task) == []
    assert wrong_fields(init_state(MODEL, OPTIMIZER, plan.task, jax.random.key(0))) == []


def test_what_the_network_says_is_as_promised():
    variables = init_variables(MODEL, jax.random.key(0))
    network = Network(MODEL, variables, blank_task().mean, blank_task().std + 1)
    assert wrong_fields(network) == []
    outputs = make_forward(network, 2)(batch(0, 0).image)
    assert isinstance(outputs, Outputs) and wrong_fields(outputs) == []
    assert outputs.coarse_logits.shape[:3] == (B, SIZE // 8, SIZE // 8)


def test_other_shapes_and_types_are_found():
    good = batch(0, 0)
    for field, other in (
        ("image", good.image.astype(np.float32)),
        ("image", good.image[:, :-1]),
        ("mask", good.mask[..., None]),
        ("label", good.label.astype(np.int64)),
        ("index", good.index[:-1]),
        ("allowed", good.allowed[:, 0]),
    ):
        assert wrong_fields(good._replace(**{field: other})), field
    task = some_task(0)
    assert wrong_fields(task) == []
    assert wrong_fields(task._replace(cls_weights=np.zeros(9, np.float32))) == ["cls_weights"]
    assert wrong_fields(task._replace(objective=task.objective._replace(label_set=0.5))) == [
        "objective.label_set"
    ]
