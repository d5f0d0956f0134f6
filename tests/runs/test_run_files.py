"""The small files of a run folder under whatever damage: a value, or a message with file and what to do."""

import json
import re
import shutil
from dataclasses import asdict

import numpy as np
import pytest

from helpers.runs import with_slide
from l2s_jax.cli.app import run as l2s
from l2s_jax.config import TrainConfig
from l2s_jax.runs.checksums import SUMS, read_sums
from l2s_jax.runs.config_file import read_config
from l2s_jax.runs.folder import (
    CONFIG,
    EARLIER_RUNS,
    FINISHED,
    MANIFEST,
    METRICS,
    NETWORK,
    SUBSET,
    EarlierRun,
    NetworkFacts,
    learned_from,
    read_earlier_runs,
    read_fingerprint,
    read_finished,
    read_metrics,
    read_network_facts,
    read_run_classes,
    read_run_config,
    read_run_manifest,
    unfinished,
    write_earlier_runs,
)
from l2s_jax.runs.sittings import ENVIRONMENT, read_sittings
from l2s_jax.system.errors import UserError

READERS = {
    METRICS: read_metrics,
    SUBSET: learned_from,
    NETWORK: read_network_facts,
    MANIFEST: read_run_manifest,
    FINISHED: read_finished,
    ENVIRONMENT: read_sittings,
    EARLIER_RUNS: read_earlier_runs,
    CONFIG: read_run_config,
    "classes.toml": read_run_classes,
    "pictures.csv": read_fingerprint,
    SUMS: learned_from,
}
KEPT = {SUBSET, NETWORK, MANIFEST, FINISHED, EARLIER_RUNS, CONFIG, "classes.toml", "pictures.csv"}
"""Written once, and known by their sums."""

EXTREMES = [
    "NaN", "Infinity", "-Infinity", "1e999", "-1", "0", "null", "[]", "{}", '""', "true", "9" * 400,
    "9" * 5000, "0x" + "f" * 5000, "[" * 3000, "1979-05-27T07:32:00Z", "2021-13-45", '"\\ud800"', "\0", "'",
    '"', "",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory):
    """A run's small files, with a run that it builds upon."""
    copy = tmp_path_factory.mktemp("small") / "run"
    shutil.copytree(trained, copy, ignore=shutil.ignore_patterns("checkpoints", "tensorboard", "*.png"))
    write_earlier_runs(copy, [EarlierRun("teacher", "runs/first", "the whole network", ("p1", "p2"))])
    return copy


def mutate(content, rng):
    """One to three changes: bits, bytes, lines and values."""
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(0, max(len(content), 1)))
        kind = rng.integers(0, 8)
        if kind == 0 and content:
            content = content[:at] + bytes([content[at] ^ (1 << rng.integers(8))]) + content[at + 1 :]
        elif kind == 1:
            content = content[:at] + rng.bytes(int(rng.integers(1, 5))) + content[at:]
        elif kind == 2:
            content = content[:at] + content[at + int(rng.integers(1, 40)) :]
        elif kind == 3:
            content = content[:at]
        elif kind == 4:
            lines = content.splitlines(keepends=True)
            rng.shuffle(lines)
            content = b"".join(lines[: int(rng.integers(0, len(lines) + 1))])
        elif kind == 5:
            other = int(rng.integers(0, max(len(content), 1)))
            content = content[:at] + content[other : other + 60] + content[at:]
        else:  # a whole value
            values = list(re.finditer(rb'(?<=[\[,:= ])[^\[\],:=\n]+|"[^"\n]*"', content))
            if values:
                value = values[rng.integers(len(values))]
                new = EXTREMES[rng.integers(len(EXTREMES))].encode("utf-8", "surrogatepass")
                content = content[: value.start()] + new + content[value.end() :]
    return content


@pytest.mark.parametrize("sums", ["with sums", "of before there were sums"])
@pytest.mark.parametrize("name", READERS)
def test_damage_is_a_message_with_the_file_and_what_to_do(name, sums, folder, tmp_path):
    rng = np.random.default_rng(list(f"{name} {sums}".encode()))
    copy = tmp_path / "run"
    shutil.copytree(folder, copy)
    if sums != "with sums" and name != SUMS:
        (copy / SUMS).unlink()
    before, whole = READERS[name](copy), (copy / name).read_bytes()
    refused = 0
    for _ in range(300):
        changed = mutate(whole, rng)
        (copy / name).write_bytes(changed)
        try:
            found = READERS[name](copy)
        except UserError as error:
            refused += 1
            assert str(copy) in str(error), error
            assert len(str(error)) < 3000, error
        else:
            if sums == "with sums" and name in KEPT:
                assert changed == whole and found == before
    assert refused > 30
    (copy / name).write_bytes(whole)
    assert READERS[name](copy) == before


def test_a_shortened_list_of_patches_does_not_switch_the_leak_check_off(trained, phantom, tmp_path, capsys):
    """The first row alone is a good file; so is an empty list of earlier runs, and none."""
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    rows = (run / SUBSET).read_text().splitlines(keepends=True)
    (run / SUBSET).write_text("".join(rows[:2]))
    assert l2s(["evaluate", str(run), str(phantom), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert str(run / SUBSET) in said and "damaged" in said and "Restore it" in said
    (run / SUBSET).write_text("".join(rows))
    write_earlier_runs(run, [EarlierRun("weights", "runs/first", "the encoder", ("p1",))])
    assert "p1" in learned_from(run).groups
    (run / EARLIER_RUNS).write_text("[]\n")
    with pytest.raises(UserError, match="is not as the run wrote it"):
        learned_from(run)
    (run / EARLIER_RUNS).unlink()
    with pytest.raises(UserError, match="is gone"):
        learned_from(run)


def test_runs_of_before_slides_were_written_down_are_read(trained, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    (run / SUMS).unlink()
    rows = [line.rsplit(",", 1) for line in (run / SUBSET).read_text().splitlines()]
    assert rows[0][1] == "slide" and {slide for _, slide in rows[1:]} == {""}  # the phantom has no slides
    (run / SUBSET).write_text("".join(f"{row}\n" for row, _ in rows))
    earlier = {"role": "weights", "folder": "e", "part": "the encoder", "groups": ["p1"]}
    (run / EARLIER_RUNS).write_text(json.dumps([earlier]))
    assert learned_from(run) == (learned_from(trained).groups | {"p1"}, set())
    with_slide(run, "a.b.svs")
    (run / EARLIER_RUNS).write_text(json.dumps([earlier | {"slides": ["c"]}]))
    assert learned_from(run).slides == {"a.b", "c"}


def test_a_stain_reference_that_is_gone_is_told(trained, phantom, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    with (run / SUMS).open("a") as sums:
        sums.write(f"{'0' * 64}  stain.json\n")
    picture = next((phantom / "images").rglob("*.png"))
    assert l2s(["predict", str(run), str(picture), "--out", str(tmp_path / "out")]) == 2
    assert "stain.json is gone" in capsys.readouterr().err


def test_sums_are_what_sha256sum_reads(folder):
    import hashlib

    for name, value in read_sums(folder).items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == value
    assert KEPT - {"pictures.csv"} <= read_sums(folder).keys()
    first = (folder / SUMS).read_text().splitlines()[0]
    assert re.fullmatch(r"[0-9a-f]{64}  \S+", first)


def test_numbers_that_a_network_cannot_have(folder, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(folder, copy)
    (copy / SUMS).unlink()
    good = asdict(NetworkFacts(32, "a3", (0.5, 0.5, 0.5), (0.2, 0.2, 0.2), None))
    for wrong in (
        {"patch_size": 0}, {"patch_size": 33}, {"patch_size": 2**40}, {"head": "b"}, {"mean": [0.5]},
        {"std": [0.2, 0, 0.2]}, {"std": [0.2, -1, 0.2]}, {"mpp": -1}, {"mpp": 0}, {"patch_size": 1.5},
        {"head": None}, {"more": 1},
    ):  # fmt: skip
        (copy / NETWORK).write_text(json.dumps(good | wrong))
        with pytest.raises(UserError, match=re.escape(str(copy / NETWORK))):
            read_network_facts(copy)
    (copy / NETWORK).write_text(json.dumps(good))
    assert read_network_facts(copy).patch_size == 32


def test_options_of_any_value_are_a_message(tmp_path):
    """Every option in turn with every extreme, as TOML and over the sweep's file."""
    from l2s_jax.sweeps.sweep_file import read_sweep

    path = tmp_path / "options.toml"
    lists = ["[nan]", "[inf]", "[[1]]", "[{a = 1}]", "{}", "[1979-05-27]", "nan", "inf", "-inf", "1e400"]
    values = [*(one for one in EXTREMES if "\0" not in one and "ud800" not in one), *lists]
    for name in ("preset", *TrainConfig.__dataclass_fields__):
        for value in values:
            path.write_text(f"{name} = {value}\n")
            try:
                read_config(path, TrainConfig())
            except UserError as error:
                assert str(path) in str(error) or name in str(error)
    keys = ("name", "dataset", "manifest", "study", "draws", "percents", "options", "variant")
    own = ("name", "preset", "settings", "percents", "start_from", "teacher", "options")
    texts = [f"{key} = {value}\n" for key in keys for value in values]
    texts += [f'[[variant]]\nname = "a"\n{key} = {value}\n' for key in own for value in values]
    texts += [f"[options]\n{key} = {value}\n" for key in ("seed", "weights", "steps") for value in values]
    for text in texts:
        path.write_text(text)
        try:
            read_sweep(path)
        except UserError as error:
            assert str(path) in str(error)


def test_scales_of_any_value_are_a_message(tmp_path):
    from l2s_jax.slides.mpp import read_mpp_table

    path = tmp_path / "mpp.csv"
    values = [
        "1e999",
        "nan",
        "-1",
        "0",
        "1e300",
        "1e-300",
        "9" * 5000,
        "0.5,0.5",
        "",
        '"',
        "x" * 200_000,
    ]
    for value in values:
        path.write_text(f"slide,mpp\nA.svs,{value}\n")
        try:
            assert read_mpp_table(path)["A.svs"] == (0.5, 0.5)
        except UserError as error:
            assert str(path) in str(error)
    path.write_text("slide,mpp\nA.svs,0.25\n")
    assert read_mpp_table(path) == {"A.svs": (0.25, 0.25)}


def test_a_run_that_is_not_finished_says_so(trained, tmp_path):
    from l2s_jax.system.files import is_locked, locked

    run = tmp_path / "run"
    shutil.copytree(trained, run)
    assert unfinished(run) == ""
    (run / FINISHED).unlink()
    assert "is not finished" in unfinished(run) and "of 3 so far" in unfinished(run)
    assert "right now" not in unfinished(run) and not is_locked(run)
    with locked(run):
        assert "is being trained right now" in unfinished(run)
    (run / METRICS).write_text("damaged")
    assert "is not finished" in unfinished(run)


@pytest.mark.slow
def test_whoever_uses_it_is_told(trained, phantom, tmp_path, capsys):
    """On the console, and in what is written."""
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    picture = next((phantom / "images").rglob("*.png"))
    commands = (
        ["evaluate", run, phantom, "--out", tmp_path / "figures"],
        ["predict", run, picture, "--out", tmp_path / "masks"],
        ["export", run, tmp_path / "exported"],
    )
    (run / FINISHED).unlink()
    for command in commands:
        assert l2s(list(map(str, command))) == 0
        assert f"the run {run} is not finished" in capsys.readouterr().out, command
    assert "is not finished" in json.loads((tmp_path / "figures" / "metrics.json").read_text())["unfinished"]


def test_json_has_no_nan(tmp_path):
    from l2s_jax.system.files import read_json, write_json

    def refuse(name):
        raise AssertionError(name)

    content = {"a": float("nan"), "b": [1.5, float("inf"), {"c": (float("-inf"), "NaN")}], "d": None}
    write_json(tmp_path / "x.json", content)
    text = (tmp_path / "x.json").read_text()
    found = json.loads(text, parse_constant=refuse)
    assert found == {"a": None, "b": [1.5, None, {"c": [None, "NaN"]}], "d": None}
    assert read_json(tmp_path / "x.json") == found
    for content in (b"[" * 100_000, b"\xff\xfe", b"{", b"1" * 5000):
        (tmp_path / "x.json").write_bytes(content)
        with pytest.raises(UserError, match="x.json"):
            read_json(tmp_path / "x.json")
