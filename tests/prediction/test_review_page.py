"""The page of a review: what it holds, and what a browser makes of it."""

import re
import shutil
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from helpers.browser import CHROMIUM, chromium_page
from helpers.reviews import FACTS, contested, judged, page_data_of, write_page
from l2s_jax import read_manifest
from l2s_jax.data.marks import COLUMNS, ITEM, read_marks
from l2s_jax.prediction.review.judgement import Judgement
from l2s_jax.prediction.review.page import PICTURES, data_set_key, picture_name, review_page
from l2s_jax.prediction.review.suspicion import LabelDoubt
from l2s_jax.prepare.folds import prepare_folds
from l2s_jax.types import IGNORE_LABEL

browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")

CARDS = 'Array.from(document.querySelectorAll("#list > li"))'
FOCUSED = f"{CARDS}.indexOf(document.activeElement)"
EVIL = '</script><img src=x onerror=alert(1)>"&\u2028=1'


@pytest.fixture(scope="module")
def contents(phantom):
    return read_manifest(phantom)


@pytest.fixture(scope="module")
def made(contents, tmp_path_factory):
    """A page of the phantom, and what is on it."""
    found, predicted = judged(contents)
    return write_page(tmp_path_factory.mktemp("page") / "out", contents, found, predicted), found


def test_the_page_holds_every_row_and_asks_for_nothing_elsewhere(made, contents):
    path, found = made
    text = path.read_text(encoding="utf-8")
    data = page_data_of(text)
    assert len(data["rows"]) == len(found) > 60 and data["header"] == ",".join(COLUMNS)
    for row, one in zip(data["rows"], found, strict=True):
        assert row[0] == f"{PICTURES}/{picture_name(one.row)}" and (path.parent / row[0]).is_file()
        assert row[1] == one.item[0] and row[7] == pytest.approx(one.doubt.suspicion, abs=1e-4)
        assert data["groups"][row[4]] == one.row.group and data["splits"][row[6]] == one.row.split
        codes = [code for code, _ in row[11]]
        if one.kind == "label":
            assert codes == [one.row.label]
        else:
            assert set(codes) == set(np.flatnonzero(one.doubt.known))
    assert "http" not in re.sub(r"http-equiv", "", text)
    assert "default-src 'none'" in text and "img-src 'self' file:" in text


def test_names_are_text_and_nothing_else(contents):
    found, _ = judged(contents)
    names = (EVIL, *contents.classes.names[1:])
    evil = replace(contents, classes=replace(contents.classes, names=names))
    one = found[0]._replace(row=replace(found[0].row, group=EVIL, source=f"{EVIL} at row 1, col 2"))
    one = one._replace(item=(EVIL, *one.item[1:]))
    text = review_page([one], evil, [("data", EVIL)])
    assert not re.search("<img src=x", text) and text.count("</script>") == 2
    data = page_data_of(text)
    assert data["groups"] == data["slides"] == [EVIL] and data["classes"][0][0] == EVIL
    assert data["rows"][0][1] == EVIL


def test_marks_are_kept_under_the_name_of_the_data_set(contents, phantom, tmp_path):
    """Not of its labels: one that is corrected leaves the others' marks where they were."""
    key = data_set_key(contents)
    first = contents.patches[0]
    corrected = replace(first, label=IGNORE_LABEL if first.label else 1, mask=None)
    assert data_set_key(replace(contents, patches=(corrected, *contents.patches[1:]))) == key
    assert data_set_key(replace(contents, patches=contents.patches[1:])) != key
    other = replace(contents.classes, names=("x", *contents.classes.names[1:]))
    assert data_set_key(replace(contents, classes=other)) != key
    folds, _ = prepare_folds(phantom, tmp_path / "folds", 3)
    assert {data_set_key(fold) for fold in folds} == {key}


@browser
def test_people_mark_with_keys_and_save_what_they_say(made, contents, tmp_path):
    path, found = made
    with chromium_page(tmp_path / "browser") as page:
        page.resize(1200, 900)
        page.open(path.as_uri())
        page.wait_for("Array.from(document.images).filter(one => one.naturalWidth > 50).length > 3")
        assert page.run(f"{CARDS}.length") == 24
        page.run("document.querySelector('#save').focus()")
        page.press("Tab")
        assert page.run(FOCUSED) == 0
        for key, place in (
            ("w", 1),
            ("r", 2),
            ("j", 3),
            ("ArrowDown", 4),
            ("u", 5),
            ("k", 4),
            ("Backspace", 4),
        ):
            page.press(key)
            assert page.run(FOCUSED) == place, key
        for key in ("u", "W", "ArrowUp", "ArrowUp", "w"):
            page.press(key)
        marked = {0: "wrong", 1: "right", 4: "wrong", 5: "wrong"}
        pressed = (
            f"{CARDS}.map(card => card.querySelector('[aria-pressed=true]')?.value ?? null)"
            ".map((verdict, k) => [k, verdict]).filter(([, verdict]) => verdict)"
        )
        assert {k: verdict for k, verdict in page.run(pressed)} == marked
        assert "marked 1 right, 3 wrong, 0 unsure" in page.run("document.querySelector('#count').value")
        # They stay when the page is read again, and a click takes one back.
        page.open(path.as_uri())
        assert {k: verdict for k, verdict in page.run(pressed)} == marked
        page.run(f"{CARDS}[4].querySelector('[value=wrong]').click()")
        page.run(f"{CARDS}[3].querySelector('[value=unsure]').click()")
        marked = {0: "wrong", 1: "right", 3: "unsure", 5: "wrong"}
        assert {k: verdict for k, verdict in page.run(pressed)} == marked
        page.download_to(tmp_path)
        page.run("document.querySelector('#save').click()")
        saved = tmp_path / "review_marks.csv"
        end = time.monotonic() + 10
        while not saved.exists() and time.monotonic() < end:
            time.sleep(0.05)
        marks = read_marks(saved, contents)
        assert not marks.passed and len(marks.holding) == 4
        expected = {(found[k].row.line, found[k].kind): verdict for k, verdict in marked.items()}
        assert {(one.row.line, one.kind): one.verdict for one in marks.holding} == expected
        beside = path.parent.as_uri()
        assert page.requests and all(one.startswith((beside, "blob:")) for one in page.requests)
        assert not page.logged


@browser
def test_filters_and_scrolling_show_what_is_asked_for(made, contents, tmp_path):
    path, found = made
    names = contents.classes.names
    count = "document.querySelector('#count').value"

    def choose(page, name, value):
        page.run(
            f"(() => {{ const one = document.querySelector('#{name}'); one.value = {value!r};"
            "one.dispatchEvent(new Event('change')); })()"
        )
        return int(page.run(count).split()[0])

    with chromium_page(tmp_path / "browser") as page:
        page.resize(1200, 900)
        page.open(path.as_uri())
        masks = [one for one in found if one.kind == "mask"]
        assert choose(page, "kind", "1") == len(masks)
        shows = [one for one in masks if one.doubt.known[2]]
        assert choose(page, "class", "2") == len(shows) > 0
        text = page.run(f"{CARDS}[0].textContent")
        assert "Mask" in text and names[2] in text
        assert choose(page, "kind", "") > len(shows)
        choose(page, "class", "")
        group = sorted({one.row.group for one in found})[2]
        assert choose(page, "group", "2") == sum(one.row.group == group for one in found)
        assert choose(page, "marked", "0") == 0 and "Nothing is like this" in page.run("end.textContent")
        choose(page, "marked", "-1")
        choose(page, "group", "")
        assert page.run("document.querySelector('#slide')") is None  # the phantom has no slides
        page.wait_for(f"(window.scrollTo(0, document.body.scrollHeight), {CARDS}.length == {len(found)})")
        suspicion = page.run(f"{CARDS}.map(card => card.row.suspicion)")
        assert suspicion == sorted(suspicion, reverse=True)
        # Nothing sticks out of a narrow window.
        page.resize(360, 700)
        assert page.run("document.documentElement.scrollWidth") <= 360
        assert not page.logged


@browser
def test_windows_are_shown_behind_and_take_no_mark(contents, tmp_path):
    found, predicted = judged(contents)
    windows = contested()
    path = write_page(tmp_path / "out", contents, found[:2], predicted, windows)
    with chromium_page(tmp_path / "browser") as page:
        page.resize(1200, 900)
        page.open(path.as_uri())
        page.wait_for("Array.from(document.images).filter(one => one.naturalWidth > 50).length > 3")
        assert (
            page.run(f"{CARDS}.length") == 8
            and page.run(f"{CARDS}[2].querySelectorAll('button').length") == 0
        )
        assert "Window" in page.run(f"{CARDS}[2].textContent")
        assert "disagreement 1.000 nats" in page.run(f"{CARDS}[2].textContent")
        page.run(f"{CARDS}[2].focus()")
        for key in ("w", "r", "u", "Backspace"):
            page.press(key)
            assert page.run(FOCUSED) == 2
        assert "marked 0 right, 0 wrong, 0 unsure" in page.run("document.querySelector('#count').value")
        page.press("j")
        assert page.run(FOCUSED) == 3
        for name, value, number in (
            ("kind", "2", 6),
            ("slide", "1", 3),
            ("slide", "", 6),
            ("marked", "-1", 0),
        ):
            page.run(
                f"(() => {{ const one = document.querySelector('#{name}'); one.value = {value!r};"
                "one.dispatchEvent(new Event('change')); })()"
            )
            assert int(page.run("document.querySelector('#count').value").split()[0]) == number, name
        assert not page.logged


@browser
def test_strange_names_reach_the_browser_as_text(made, contents, tmp_path):
    path, found = made
    folder = tmp_path / "out"
    shutil.copytree(path.parent, folder)
    names = (EVIL, *contents.classes.names[1:])
    evil = replace(contents, classes=replace(contents.classes, names=names))
    rows = [one._replace(row=replace(one.row, group=EVIL)) for one in found[:5]]
    (folder / "review.html").write_text(review_page(rows, evil, FACTS), encoding="utf-8")
    with chromium_page(tmp_path / "browser") as page:
        page.open((folder / "review.html").as_uri())
        assert page.run(f"{CARDS}.length") == 5 and EVIL in page.run(f"{CARDS}[0].textContent")
        assert page.run("document.querySelector('#key').textContent").startswith(EVIL)
        assert page.run("Array.from(document.images).every(one => one.src.includes('pictures/'))")
        assert not page.logged


@browser
@pytest.mark.slow
def test_five_thousand_patches_show_their_first_picture_within_two_seconds(contents, rng, tmp_path):
    """And any key is answered at once, however many marks are kept."""
    first, many = contents.patches[0], 5000
    (tmp_path / PICTURES).mkdir()
    for k in range(20):
        noise = Image.fromarray(rng.integers(0, 256, (192, 584, 3)).astype(np.uint8))
        noise.save(tmp_path / f"{k}.jpg", quality=85, subsampling=0)
    found = []
    for k in range(many):
        row = replace(
            first, line=k + 2, group=f"patient {k // 5}", source=f"slide {k // 9}.svs at row 1, col 2"
        )
        shutil.copy(tmp_path / f"{k % 20}.jpg", tmp_path / PICTURES / picture_name(row))
        item = (
            f"images/a_name_of_some_length_{k:05d}.png",
            "",
            "label",
            contents.classes.names[1],
            f"{k:016x}",
        )
        chance = 1 - k / many
        doubt = LabelDoubt(chance, 1 - chance, 2, chance, np.zeros(4))
        found.append(Judgement(row, "label", item, doubt, 2))
    assert len(ITEM) == 5
    path = tmp_path / "review.html"
    path.write_text(review_page(found, contents, FACTS), encoding="utf-8")
    with chromium_page(tmp_path / "browser") as page:
        page.resize(1400, 1000)
        taken = []
        for _ in range(3):  # the best counts: other tests run beside this one
            page.open("about:blank")
            start = time.monotonic()
            page.open(path.as_uri())
            page.wait_for("document.images[0]?.complete && document.images[0].naturalWidth > 0")
            taken.append(time.monotonic() - start)
        assert page.run("document.querySelector('#count').value").startswith("5000 of 5000 shown")
        pictures = [one for one in page.requests if one.endswith(".jpg")]
        assert min(taken) < 2 and 0 < len(pictures) < 300, (taken, len(pictures))
        page.run(
            "(() => { const data = JSON.parse(document.querySelector('#data').textContent);"
            "localStorage.setItem(data.key, JSON.stringify(data.rows.map(row => [row[2], 'right']))); })()"
        )
        page.open(path.as_uri())
        assert "marked 5000 right" in page.run("document.querySelector('#count').value")
        page.run(f"{CARDS}[0].focus()")
        start = time.monotonic()
        for _ in range(50):
            page.press("w")
        assert (time.monotonic() - start) / 50 < 0.2
        assert page.run(FOCUSED) == 50
        assert "marked 4950 right, 50 wrong" in page.run("document.querySelector('#count').value")
        assert not page.logged
        print(f"first picture after {min(taken):.2f} s, page of {path.stat().st_size / 1e6:.1f} MB")


@browser
def test_a_window_that_shows_more_than_one_batch_is_filled(made, tmp_path):
    """Also where the list was short before and the window has not been drawn since."""
    path, found = made
    filled = f"{CARDS}.length == {len(found)}"
    with chromium_page(tmp_path / "browser") as page:
        page.resize(1200, 40000)
        page.open(path.as_uri())
        page.wait_for(filled)
        for value in ("1", ""):
            page.run(f"document.querySelector('#kind').value = '{value}'")
            page.run("document.querySelector('#kind').dispatchEvent(new Event('change'))")
        page.wait_for(filled)
