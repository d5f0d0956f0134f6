"""`l2s compare`: S beside recipes that learn from labels too, on a data set of the user's."""

import pandas as pd
import pytest

from helpers.manifests import with_rows
from helpers.runs import quiet
from l2s_jax.cli.app import run
from l2s_jax.runs.network import load_network
from l2s_jax.sweeps.compare import FIGURE, FOLDER, SENTENCES, TABLE, compare
from l2s_jax.system.errors import UserError


def test_what_cannot_be_compared_is_refused(phantom, tmp_path):
    masked = with_rows(phantom, tmp_path / "masked", lambda row: row if row.mask is not None else None)
    with pytest.raises(UserError, match="every training patch has a mask.*--percent 10"):
        compare(masked, tmp_path / "out", allow_outside=True, say=quiet)
    no_test = with_rows(phantom, tmp_path / "no_test", lambda row: row if row.split != "test" else None)
    with pytest.raises(UserError, match="no patch of the split test has a mask"):
        compare(no_test, tmp_path / "out", allow_outside=True, say=quiet)
    for wrong in ({"draws": 0}, {"recipes": ()}, {"recipes": ("labelset", "labelset")}):
        with pytest.raises(UserError, match="expected"):
            compare(phantom, tmp_path / "out", say=quiet, **wrong)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_what_labels_are_worth_is_said_and_drawn(phantom, tmp_path, capsys):
    out = tmp_path / "compared"
    command = ["compare", str(phantom), "--out", str(out), "--recipes", "labelset"]
    command += ["--draws", "2", "--steps", "3", "--weights", "random"]
    assert run([*command, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "S and labelset, 2 draws:" in said and "12 steps to go: about" in said
    assert not out.exists()
    assert run(command) == 0
    said = capsys.readouterr().out
    assert said.index("12 steps to go: about") < said.index("run 1 of 4")
    table = pd.read_csv(out / FOLDER / TABLE)
    results = pd.read_csv(out / "results.csv").set_index(["variant", "draw"])["macro_f1"]
    for row in table.itertuples():
        each = [results[row.variant, draw] - results["S", draw] for draw in (0, 1)]
        assert row.mean == pytest.approx(sum(each) / 2, abs=1e-6) and row.n == 2
    assert list(table["variant"]) == ["labelset"]
    # Labels are to make the difference, not the decoder.
    assert {load_network(one)[0].model.decoder for one in (out / "runs").iterdir()} == {"skip"}
    for line in (out / FOLDER / SENTENCES).read_text().splitlines():
        assert line in said
    assert "The interval is over draws, not over patients" in said
    assert (out / FOLDER / FIGURE).stat().st_size > 1000
    # Again: nothing is trained twice, and the same comes out.
    before = (out / FOLDER / TABLE).read_bytes()
    assert run(command) == 0
    assert (out / FOLDER / TABLE).read_bytes() == before
