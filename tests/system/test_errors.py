"""Errors carry fields, and keep them on their way to another process."""

import pickle
from pathlib import Path

from l2s_jax.cli.advice import advice
from l2s_jax.runs.leaks import Leak
from l2s_jax.system.errors import Unwritable, UserError
from l2s_jax.system.stopping import Stopped
from l2s_jax.training.loop import SomeFailed
from l2s_jax.training.run import NotFinite


def test_errors_survive_the_way_to_another_process():
    losses = {"loss": float("inf"), "loss_seg": float("inf"), "loss_cls": 1.0}
    diverged = NotFinite(Path("run"), 7, losses, [Path("a.png")], 4)
    for error, fields in (
        (UserError("no such file", exit_code=1), {"exit_code": 1}),
        (Unwritable("full"), {"exit_code": 1}),
        (Stopped(Path("run"), 3, 12), {"folder": Path("run"), "step": 3, "steps": 12, "exit_code": 130}),
        (Leak(Path("run"), ("a", "b"), ("test",), "teacher"), {"groups": ("a", "b"), "role": "teacher"}),
        (diverged, {"step": 7, "files": (Path("a.png"),), "checkpoint": 4, "exit_code": 3}),
    ):
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error) and str(again) == str(error)
        assert {name: getattr(again, name) for name in fields} == fields
    both = pickle.loads(pickle.dumps(SomeFailed([diverged], 2)))
    assert both.failures[0].step == 7 and "1 of 2" in str(both)


def test_the_command_says_how_to_go_on():
    stopped = Stopped(Path("runs/a"), 3, 12)
    assert "3 of 12" in str(stopped) and "--resume --out runs/a" in advice(stopped, "train")
    assert "same sweep" in advice(stopped, "sweep") and "same sweep" in advice(Unwritable("full"), "sweep")
    leak = Leak(Path("run"), [f"s{i}" for i in range(12)], ("val", "test"))
    assert "12 patient" in str(leak) and "val and test" in str(leak) and "2 more" in str(leak)
    assert "optimistic" in str(leak) and "--trained-on" in advice(
        Leak(Path("run"), ["s1"]), "evaluate-slides"
    )
    assert "--teacher" in advice(Leak(Path("run"), ["s1"], role="teacher"), "train")
    assert advice(UserError("no such file"), "train") == ""
