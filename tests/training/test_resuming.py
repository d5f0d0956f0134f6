"""What a run that goes on finds: other pictures, other versions, what a kill left, a request to stop."""

import json
import shutil
import signal
from dataclasses import replace

import pytest
from PIL import Image

from helpers.runs import TINY, quiet
from l2s_jax.config import PRESETS
from l2s_jax.data.fingerprint import fingerprint
from l2s_jax.data.manifest import read_manifest, write_patches
from l2s_jax.runs import sittings
from l2s_jax.runs.folder import FINISHED, read_metrics
from l2s_jax.runs.sittings import ENVIRONMENT, differences, read_sittings
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import read_json
from l2s_jax.system.stopping import Stopped
from l2s_jax.training import run as training_run
from l2s_jax.training.train import train
from l2s_jax.types import IGNORE_LABEL


@pytest.fixture
def data(phantom, tmp_path):
    shutil.copytree(phantom, tmp_path / "data")
    return tmp_path / "data"


def stopped_once(data, run, config, monkeypatch):
    """A run that is stopped after its first validation."""
    write_rows, asked = training_run.TrainingRun.write_rows, []

    def stop(self):
        write_rows(self)
        if not asked:  # a second would be obeyed at once
            asked.append(self.number)
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(training_run.TrainingRun, "write_rows", stop)
        with pytest.raises(Stopped):
            train(data, run, config, say=quiet)
    return run


@pytest.fixture
def begun(data, tmp_path, monkeypatch):
    return stopped_once(data, tmp_path / "run", TINY, monkeypatch)


def exchange(path):
    Image.open(path).transpose(Image.Transpose.ROTATE_180).save(path)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["image", "mask", "judged"])
def test_pictures_that_were_exchanged_meanwhile_are_noticed(what, begun, data):
    """The manifest's hash is the same."""
    manifest = read_manifest(data)
    rows = [row for row in manifest.of_split("val" if what == "judged" else "train") if row.mask]
    path = rows[0].mask if what == "mask" else rows[0].image
    before = path.read_bytes()
    exchange(path)
    assert read_manifest(data).sha256 == manifest.sha256 and path.read_bytes() != before
    with pytest.raises(UserError, match="begun with other pictures or masks") as refused:
        train(data, begun, TINY, resume=True, say=quiet)
    assert path.name in str(refused.value) and "Put those back" in str(refused.value)
    path.write_bytes(before)
    train(data, begun, TINY, resume=True, say=quiet)
    assert (begun / FINISHED).is_file()


@pytest.mark.slow
def test_every_sitting_is_listed_and_what_is_other_is_said(begun, data, monkeypatch):
    first = read_sittings(begun)
    assert len(first) == 1 and first[0]["from_step"] == 0 and first[0]["cores"] >= 1
    now = sittings.environment()
    changed = {**now, "cores": 99, "packages": {**now["packages"], "jax": "0.99.0"}}
    monkeypatch.setattr(sittings, "environment", lambda: changed)
    lines = []
    train(data, begun, TINY, resume=True, say=lines.append)
    (warning,) = [line for line in lines if "bits" in line]
    assert f"jax {now['packages']['jax']} then, 0.99.0 now" in warning
    assert f"cores {now['cores']} then, 99 now" in warning
    assert [one["from_step"] for one in read_sittings(begun)] == [0, read_sittings(begun)[1]["from_step"]]
    finished = read_json(begun / FINISHED)["environment"]
    assert finished["packages"]["jax"] == "0.99.0" and finished["cores"] == 99


@pytest.mark.slow
def test_on_the_same_nothing_is_said(begun, data):
    lines = []
    train(data, begun, TINY, resume=True, say=lines.append)
    assert not [line for line in lines if "bits" in line]
    assert len(read_sittings(begun)) == 2


def test_an_environment_of_before_there_were_sittings_is_read(begun):
    (one,) = read_sittings(begun)
    old = {name: one[name] for name in ("started", "command", "python", "devices", "packages")}
    (begun / ENVIRONMENT).write_text(json.dumps(old))
    assert read_sittings(begun) == [old]
    assert differences(old, one) == []


@pytest.mark.slow
def test_what_a_kill_left_in_the_first_moments_is_no_other_file(phantom, tmp_path):
    """An empty lock, a file that was being written, and the first of a run's own."""
    for number, names in enumerate(
        ((".lock", ".partial-abc.toml"), (".partial-x", "classes.toml", "pictures.csv"))
    ):
        run = tmp_path / str(number)
        run.mkdir()
        for name in names:
            (run / name).touch()
        train(phantom, run, replace(TINY, epochs=1), resume=bool(number), say=quiet)
        assert (run / FINISHED).is_file() and not list(run.glob(".partial-*"))


@pytest.mark.slow
def test_a_request_to_stop_while_the_report_is_written_is_heeded(phantom, tmp_path, monkeypatch):
    """The run is finished, and nothing comes after it."""
    from l2s_jax.training import report

    write = report.write_run_report

    def interrupted(*arguments):
        signal.raise_signal(signal.SIGTERM)
        write(*arguments)

    monkeypatch.setattr(report, "write_run_report", interrupted)
    with pytest.raises(Stopped):
        train(phantom, tmp_path / "run", replace(TINY, epochs=1), say=quiet)
    assert (tmp_path / "run" / FINISHED).is_file() and (tmp_path / "run" / "report.html").is_file()


def test_what_a_fingerprint_costs(tmp_path, capsys):
    """Of 1,000 patches of 128 x 128 with masks; printed, and a small part of decoding them."""
    import time

    import numpy as np

    from l2s_jax.data.manifest import PatchRow
    from l2s_jax.data.pictures import read_image, write_png

    rng = np.random.default_rng(0)
    rows = []
    for i in range(100):
        write_png(tmp_path / f"{i}.png", rng.integers(0, 256, (128, 128, 3), np.uint8))
        rows.append(PatchRow(i, tmp_path / f"{i}.png", tmp_path / f"{i}.png", 0, "g", "train", None, "", ()))
    began = time.perf_counter()
    found = fingerprint(rows * 10, tmp_path)
    took = time.perf_counter() - began
    began = time.perf_counter()
    for row in rows:
        read_image(row.image)
    decoded = 20 * (time.perf_counter() - began)
    assert len(found) == 100
    with capsys.disabled():
        print(f"fingerprint of 1,000 patches: {took:.2f} s, decoding them {decoded:.2f} s")


@pytest.mark.slow
def test_what_was_seen_of_wholes_is_gone_on_with(data, tmp_path, monkeypatch):
    """Presence in wholes remembers how sure the network was of each patch; the bits show whether it did."""
    manifest = read_manifest(data)
    background = manifest.classes.background

    def part(row):
        if row.mask or row.label in (IGNORE_LABEL, background):
            return row
        whole = {"bag": f"{row.group} {row.label}", "bag_label": row.label}
        return replace(row, label=IGNORE_LABEL, allowed=tuple(sorted((row.label, background))), **whole)

    rows = [part(row) for row in manifest.patches]
    assert any(row.bag for row in rows if row.split == "train")
    write_patches(data, manifest.classes, rows)
    config = replace(PRESETS["labelset"], weights="random", batch_size=8, epochs=3, learning_rate=1e-3)
    whole = train(data, tmp_path / "whole", config, say=quiet)
    broken = stopped_once(data, tmp_path / "broken", config, monkeypatch)
    train(data, broken, config, resume=True, say=quiet)
    columns = ("step", "loss", "loss_seg", "val_score")
    figures = [[[row[name] for name in columns] for row in read_metrics(run)] for run in (whole, broken)]
    assert figures[0] == figures[1] and len(figures[0]) == 3
