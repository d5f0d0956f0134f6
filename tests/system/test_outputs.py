import json
import os
import signal
import subprocess
import sys

import pytest

from l2s_jax.system import outputs
from l2s_jax.system.errors import UserError
from l2s_jax.system.outputs import (
    RECORD,
    Source,
    begin_table,
    content_digest,
    made_here,
    publishing,
    read_record,
    remove_dead_stages,
    require_apart,
    require_own_table,
    require_replaceable,
    source_of,
)

A, B = Source("/data/a.png", "1" * 64), Source("/data/b.png", "2" * 64)


def publish(folder, text, sources, name="x.txt", **options):
    with publishing(folder, sources, **options) as stage:
        (stage / name).parent.mkdir(parents=True, exist_ok=True)
        (stage / name).write_text(text)


def test_what_was_made_for_the_same_is_replaced(tmp_path):
    publish(tmp_path, "one", (A,))
    publish(tmp_path, "two", (A,), key="other options")
    assert (tmp_path / "x.txt").read_text() == "two" and made_here(tmp_path / "x.txt")
    changed = Source(A.name, "3" * 64)
    moved = Source("/elsewhere/a.png", changed.digest)
    for number, source in enumerate((changed, moved)):
        publish(tmp_path, str(number), (source,))
        assert (tmp_path / "x.txt").read_text() == str(number)


@pytest.mark.parametrize("spoil", ["foreign", "changed", "other", "recordless", "folder", "link"])
def test_all_else_is_refused_and_stays(tmp_path, spoil):
    path, sources = tmp_path / "x.txt", (A,)
    if spoil not in ("foreign", "folder", "link"):
        publish(tmp_path, "one", (A,))
    if spoil == "foreign":
        path.write_text("drawn by hand")
    elif spoil == "changed":
        path.write_text("corrected")
    elif spoil == "other":
        sources = (B,)
    elif spoil == "recordless":
        (tmp_path / RECORD).write_text('{"file": "x.txt"}\nno JSON\n\0\n[[[')
    elif spoil == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "nowhere")
    before = path.read_text() if path.is_file() else None
    for ask in (
        lambda: require_replaceable(tmp_path, ["x.txt", "y.txt"], sources),
        lambda: publish(tmp_path, "two", sources),
    ):
        with pytest.raises(UserError, match=r"x\.txt") as caught:
            ask()
        assert "another output folder" in str(caught.value)
    if spoil == "other":
        assert A.name in str(caught.value) and B.name in str(caught.value)
    assert (path.read_text() if path.is_file() else None) == before
    assert not list(tmp_path.glob(".partial-*"))


def test_one_that_is_refused_keeps_all_as_they_are(tmp_path):
    publish(tmp_path, "one", (A,))
    (tmp_path / "y.txt").write_text("drawn by hand")
    with pytest.raises(UserError, match=r"y\.txt"), publishing(tmp_path, (A,)) as stage:
        (stage / "x.txt").write_text("two")
        (stage / "y.txt").write_text("two")
    assert (tmp_path / "x.txt").read_text() == "one"


def test_figures_of_more_replace_those_of_fewer_and_never_the_other_way(tmp_path):
    publish(tmp_path, "of a", (A,))
    publish(tmp_path, "of both", (A, B))
    with pytest.raises(UserError, match=r"x\.txt was made from /data/b\.png"):
        publish(tmp_path, "of a", (A,))


def test_names_that_meet_are_refused(tmp_path, monkeypatch):
    one, two = tmp_path / "a/x.png", tmp_path / "b/x.jpg"
    with pytest.raises(UserError) as caught:
        require_apart({one: [tmp_path / "o/x.png"], two: [tmp_path / "o/x.png"]})
    assert str(one) in str(caught.value) and str(two) in str(caught.value) and "Rename" in str(caught.value)
    cases = {one: [tmp_path / "o/x.png"], two: [tmp_path / "o/X.png"]}
    require_apart(cases)  # two files, where the file system tells them apart
    monkeypatch.setattr(outputs, "_folds_names", lambda folder: True)
    with pytest.raises(UserError, match="Rename"):
        require_apart(cases)
    umlauts = {one: [tmp_path / "o/\u00fc.png"], two: [tmp_path / "o/U\u0308.png"]}
    with pytest.raises(UserError, match="Rename"):
        require_apart(umlauts)


def test_an_output_is_never_an_input(tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).touch()
    with pytest.raises(UserError, match="is an input"):
        require_apart({tmp_path / "a.png": [tmp_path / "a.png"]})
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(UserError, match="is an input"):
        require_apart(
            {tmp_path / "link/a.png": [tmp_path / "c.png"], tmp_path / "link/b.png": [tmp_path / "b.png"]}
        )


def test_a_case_insensitive_folder_is_noticed(tmp_path, monkeypatch):
    assert not outputs._folds_names(tmp_path / "not/there/yet")
    monkeypatch.setattr(outputs.os.path, "lexists", lambda path: True)
    assert outputs._folds_names(tmp_path)


KILLED = """
import os, signal, sys
from pathlib import Path
from l2s_jax.system import outputs
step = int(sys.argv[2])
replace, calls = os.replace, []
def counting(*arguments):
    calls.append(1)
    if len(calls) > step:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(*arguments)
os.replace = counting
with outputs.publishing(Path(sys.argv[1]), (outputs.Source("a"),), key="new", last=("about",)) as stage:
    for name in ("one", "two", "about"):
        (stage / name).write_text("new")
"""


@pytest.mark.parametrize("step", [0, 1, 2])
def test_a_kill_between_two_files_leaves_what_can_be_done_again(tmp_path, step):
    for name in ("one", "two", "about"):
        publish(tmp_path, "old", (Source("a"),), name=name)
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), str(step)])
    assert done.returncode == -signal.SIGKILL
    assert {(tmp_path / name).read_text() for name in ("one", "two")} <= {"old", "new"}
    assert not (tmp_path / "about").exists()  # nothing says that the others belong together
    require_replaceable(tmp_path, ["one", "two", "about"], (Source("a"),))
    with (tmp_path / RECORD).open("ab") as file:
        file.write(b'{"file": "one", "sha')  # a line that was cut off
    publish(tmp_path, "newer", (Source("a"),), name="one")
    assert (tmp_path / "one").read_text() == "newer" and made_here(tmp_path / "one")


def test_what_a_killed_process_was_writing_goes_and_what_another_writes_stays(tmp_path, monkeypatch):
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), "0"])
    (left,) = tmp_path.glob(".partial-*")
    remove_dead_stages(tmp_path)  # it is so new that its process may not have locked it yet
    assert left.is_dir()
    monkeypatch.setattr(outputs, "JUST_MADE_S", 0.0)
    (tmp_path / ".partial-file.png").touch()
    with publishing(tmp_path, (A,)) as stage:
        remove_dead_stages(tmp_path)
        assert not left.exists() and stage.is_dir()
        (stage / "x.txt").write_text("whole")
    assert (tmp_path / "x.txt").read_text() == "whole"
    assert [path.name for path in tmp_path.glob(".partial-*")] == [".partial-file.png"]
    os.utime(tmp_path / ".partial-file.png", (0, 0))
    remove_dead_stages(tmp_path)
    assert not list(tmp_path.glob(".partial-*"))
    assert outputs.STAGE_LOCK not in read_record(tmp_path)


def test_what_another_network_made_of_the_same_goes_unless_somebody_changed_it(tmp_path):
    for name in ("gone", "corrected", "same key"):
        publish(tmp_path, name, (A,), name=name)
    publish(tmp_path, "another's", (B,), name="of b")
    (tmp_path / "corrected").write_text("by hand")
    (tmp_path / "unknown").write_text("of the user's")
    others = ["gone", "corrected", "of b", "unknown", "never made"]
    with publishing(tmp_path, (A,), key="new", instead_of=others) as stage:
        (stage / "map").write_text("new")
    left = {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")}
    assert left == {"corrected", "same key", "of b", "unknown", "map", RECORD}
    with publishing(tmp_path, (A,), key="new", instead_of=["map"]) as stage:
        (stage / "second").write_text("of the same key")
    assert (tmp_path / "map").is_file()
    (tmp_path / "map").write_text("by hand")
    with pytest.raises(UserError), publishing(tmp_path, (A,), key="k", instead_of=["second"]) as stage:
        (stage / "map").write_text("refused")
    assert (tmp_path / "second").is_file()  # nothing new came, so nothing of before goes


def test_a_folder_that_is_made_anew_keeps_nothing_of_a_longer_list(tmp_path):
    def listed(names, sources=(A,)):
        with publishing(tmp_path, sources, anew=["pictures"]) as stage:
            (stage / "pictures").mkdir()
            for name in names:
                (stage / "pictures" / name).write_text(name)

    listed(["1", "2", "3", "4"])
    (tmp_path / "pictures/3").write_text("by hand")
    (tmp_path / "pictures/mine").write_text("of the user's")
    publish(tmp_path, "text", (A,))
    listed(["1"])
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {"1", "3", "mine"}
    assert (tmp_path / "x.txt").is_file()


def test_an_exception_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="broken"), publishing(tmp_path / "out", (A,)) as stage:
        (stage / "x.txt").write_text("half")
        raise ValueError("broken")
    assert not list((tmp_path / "out").iterdir())


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        publish(tmp_path / "file", "text", (A,))


def test_a_moved_source_is_known_by_its_content(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "b").write_bytes(b"one")
    (tmp_path / "c").write_bytes(b"two")
    for limit in (outputs.LARGE, 2):
        monkeypatch.setattr(outputs, "LARGE", limit)
        a, b, c = (content_digest(tmp_path / name) for name in "abc")
        assert a == b != c
    assert source_of(tmp_path / "a").digest == "" and source_of(tmp_path).digest == ""


def test_outputs_inside_their_source_move_with_it(tmp_path):
    folder = tmp_path / "run/evaluation"
    publish(folder, "one", (source_of(tmp_path / "run", outputs=folder),))
    (tmp_path / "run").rename(tmp_path / "moved")
    folder = tmp_path / "moved/evaluation"
    publish(folder, "two", (source_of(tmp_path / "moved", outputs=folder),))
    (tmp_path / "other").mkdir()
    with pytest.raises(UserError, match=r"x\.txt was made from"):
        publish(folder, "three", (source_of(tmp_path / "other", outputs=folder),))


def test_a_large_files_samples_reach_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(outputs, "LARGE", 2**20)
    content = bytearray(os.urandom(40 * 2**20))
    (tmp_path / "a").write_bytes(content)
    first = content_digest(tmp_path / "a")
    content[-1] ^= 1
    (tmp_path / "a").write_bytes(content)
    assert content_digest(tmp_path / "a") != first


def test_a_table_gains_rows_only_where_it_was_begun(tmp_path):
    path = tmp_path / "t.csv"
    require_own_table(path, ["a", "b"])
    path.write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"t\.csv is there and was not made by l2s"):
        require_own_table(path, ["a", "b"])
    path.unlink()
    begin_table(path)
    path.write_text("a,b\n1,2\n")
    require_own_table(path, ["a", "b"])
    begin_table(path)
    assert len(read_record(tmp_path)["t.csv"]) == 1
    path.write_text("a;b\n1;2\n")
    with pytest.raises(UserError, match="other columns"):
        require_own_table(path, ["a", "b"])


def test_the_record_is_lines_of_json_that_say_what_and_whence(tmp_path):
    publish(tmp_path, "one", (A, B), name="sub/x.txt", key="k")
    (line,) = (tmp_path / RECORD).read_text().splitlines()
    entry = json.loads(line)
    assert entry["file"] == "sub/x.txt" and entry["key"] == "k" and len(entry["sha256"]) == 64
    assert entry["from"] == [list(A), list(B)]


def test_a_record_speaks_of_its_own_folder_only(tmp_path):
    lines = [
        json.dumps({"file": name, "sha256": "0" * 64, "from": [["a", ""]], "key": ""})
        for name in ("../x.txt", "/etc/x", "sub/../../x", "x.txt")
    ]
    (tmp_path / RECORD).write_text("\n".join([*lines, "{}", "[]", "1", '{"file": 3}', "\x00"]) + "\n")
    assert list(read_record(tmp_path)) == ["x.txt"]
