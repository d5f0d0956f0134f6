"""The folder for WSInfer: what its configuration promises, and the classifier's answers for pictures in 0..1.

WSInfer itself runs it in tests/other_programs.sh.
"""

import json
import warnings

import numpy as np
import pandas as pd
import pytest

from helpers.commands import l2s
from helpers.random_variables import random_variables
from l2s_jax.data.classes import Classes
from l2s_jax.exports.description import BuiltIn
from l2s_jax.exports.export import export_model
from l2s_jax.exports.stain_map import changed
from l2s_jax.exports.verify import verify_export
from l2s_jax.models.forward import Network, make_forward
from l2s_jax.models.network import L2S
from l2s_jax.runs.folder import SUBSET
from l2s_jax.system.errors import UserError

torch = pytest.importorskip("torch", reason="needs the torch extra")

MEAN, STD, SIZE = (0.7, 0.5, 0.6), (0.2, 0.3, 0.25), 32
CLASSES = Classes(("background", "stroma", "gland"), ((255, 255, 255), (1, 2, 3), (4, 5, 6)), (0, 1, 2))
NETWORK = Network(L2S(3, "a3"), random_variables(3, seed=4), np.float32(MEAN), np.float32(STD))
CHANGE = BuiltIn("a slide.svs", ((0.9, 0.1, 0.0), (0.05, 0.8, 0.1), (0.0, 0.1, 1.1)))
STAIN = {"stain_matrix": [[0.6, 0.2], [0.7, 0.9], [0.4, 0.3]], "max_concentration": [1.0, 1.0]}


def exported(out, **more):
    options = {"mpp": 2.0, "formats": ("wsinfer",), **more}
    return export_model(out, NETWORK.variables, CLASSES, SIZE, MEAN, STD, "a3", **options)


def answers(path, images):
    """As WSInfer gives it patches: torchvision's ToTensor is a division by 255 in float32."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would rather have programs of another kind
        program = torch.jit.load(path)
    with torch.no_grad():
        return program(torch.from_numpy(images).permute(0, 3, 1, 2).float().div(255)).numpy()


def test_the_configuration_is_what_wsinfers_schema_asks_for(tmp_path):
    files = exported(tmp_path / "out")
    assert [str(one.relative_to(tmp_path / "out")) for one in files[:2]] == [
        "wsinfer/torchscript_model.pt", "wsinfer/config.json",
    ]  # fmt: skip
    config = json.loads(files[1].read_text(encoding="utf-8"))
    assert config == {
        "spec_version": "1.0", "architecture": "l2s_jax", "num_classes": 3, "patch_size_pixels": SIZE,
        "spacing_um_px": 2.0, "class_names": list(CLASSES.names),
        "transform": [{"name": "Resize", "arguments": {"size": SIZE}}, {"name": "ToTensor"}],
    }  # fmt: skip


def test_its_answers_are_the_classifiers(tmp_path, rng):
    images = rng.integers(0, 256, (3, SIZE, SIZE, 3), np.uint8)
    truth = make_forward(NETWORK, 3)(images)[1]
    found = answers(exported(tmp_path / "out")[0], images)
    np.testing.assert_allclose(found, truth, rtol=0, atol=1e-4 * np.abs(truth).max())


def test_a_change_of_stains_is_built_in(tmp_path, rng):
    images = rng.integers(0, 256, (2, SIZE, SIZE, 3), np.uint8)
    seen = changed(images, np.asarray(CHANGE.change))
    truth = make_forward(NETWORK, 2)(seen)[1]
    files = exported(tmp_path / "out", stain=STAIN, built_in=CHANGE)
    found = answers(files[0], images)
    np.testing.assert_allclose(found, truth, rtol=0, atol=5e-3 * np.abs(truth).max())
    plain = make_forward(NETWORK, 2)(images)[1]
    assert np.abs(found - plain).max() > 0.02 * np.abs(truth).max()  # and it does something
    assert "the stains of a slide.svs to those" in (tmp_path / "out" / "README.txt").read_text()
    assert not (tmp_path / "out" / "stain_map.py").exists()


def test_it_is_verified(tmp_path, rng):
    from l2s_jax.data.pictures import write_png

    write_png(tmp_path / "one.png", rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8))
    formats = ("safetensors", "wsinfer", "torchscript")
    exported(tmp_path / "out", stain=STAIN, built_in=CHANGE, formats=formats)
    found = verify_export(tmp_path / "out", [tmp_path / "one.png"], say=lambda line: None)
    assert found["wsinfer/torchscript_model.pt"].probability is None
    assert found["model.torchscript.pt"].probability < 1e-3


def test_the_scale_must_be_known(tmp_path):
    with pytest.raises(UserError, match="micrometres a pixel"):
        exported(tmp_path / "out", mpp=None)
    with pytest.raises(UserError, match="wsinfer give it pictures alone"):
        exported(tmp_path / "out", stain=STAIN)
    assert not (tmp_path / "out").exists()


def test_a_classifier_that_has_learned_nothing_is_refused(trained, tmp_path, capsys):
    import shutil

    from helpers.runs import take_out_sum

    assert l2s("export", trained, tmp_path / "out", "--formats", "wsinfer") == 0
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    rows = pd.read_csv(run / SUBSET)
    rows[rows["mask_used"] == 1].assign(label_used=0).to_csv(run / SUBSET, index=False)
    take_out_sum(run, SUBSET)
    assert l2s("export", run, tmp_path / "none", "--formats", "wsinfer") == 2
    assert "has learned nothing" in capsys.readouterr().err
    assert l2s("export", trained, tmp_path / "both", "--stain", "off", "--stain-of", "a.svs") == 2
    assert (
        l2s("export", trained, tmp_path / "of", "--stain-of", next(iter(trained.glob("samples/*.png")))) == 2
    )
    assert "learned from stains as they are" in capsys.readouterr().err
