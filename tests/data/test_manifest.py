from itertools import product
from pathlib import Path

import pytest
import tomli_w
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from l2s_jax.data.manifest import (
    Classes,
    Manifest,
    PatchRow,
    _outside_of,
    parse_classes,
    parse_manifest,
    read_manifest,
    straddling_groups,
    write_classes,
    write_patches,
)
from l2s_jax.system.errors import UserError
from l2s_jax.types import IGNORE_LABEL

HEADER = "image,mask,label,group,split\n"
TWO = '[[class]]\nname = "a"\ncolour = [0, 0, 0]\n[[class]]\nname = "b"\ncolour = [255, 0, 0]\n'
REPEATED = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def folder_with(tmp_path, patches, classes=TWO):
    (tmp_path / "patches.csv").write_bytes(patches if isinstance(patches, bytes) else patches.encode())
    (tmp_path / "classes.toml").write_bytes(classes if isinstance(classes, bytes) else classes.encode())
    return tmp_path


def test_reads_rows_with_their_lines_and_paths(tmp_path):
    rows = "i.png,m.png,b,g1,train,0.5,somewhere\nj.png,,a,g2,val,,\nk.png,k_m.png,,g3,test,,\n"
    folder = folder_with(tmp_path, HEADER.strip() + ",mpp,source\n" + rows)
    manifest = read_manifest(folder)
    assert manifest.patches == (
        PatchRow(2, folder / "i.png", folder / "m.png", 1, "g1", "train", 0.5, "somewhere"),
        PatchRow(3, folder / "j.png", None, 0, "g2", "val"),
        PatchRow(4, folder / "k.png", folder / "k_m.png", IGNORE_LABEL, "g3", "test"),
    )
    assert manifest == read_manifest(folder / "patches.csv")
    assert [patch.line for patch in manifest.of_split("val")] == [3]


def test_what_can_occur_may_stand_alone(tmp_path):
    folder = folder_with(tmp_path, HEADER.strip() + ",allowed\ni.png,,,g,train,b\n")
    (row,) = read_manifest(folder).patches
    assert (row.mask, row.label, row.allowed) == (None, IGNORE_LABEL, (1,))


def test_a_class_with_a_semicolon_is_told_why_it_cannot_be_allowed(tmp_path):
    classes = TWO.replace('"b"', '"b;c"')
    assert classes != TWO
    folder = folder_with(tmp_path, HEADER.strip() + ",allowed\ni.png,,,g,train,b;c\n", classes)
    with pytest.raises(UserError, match="'b;c' cannot be named here for its semicolon: rename it"):
        read_manifest(folder)


def test_hash_changes_with_either_file(tmp_path):
    hashes = set()
    for patches in (HEADER + "i.png,,a,g,train\n", HEADER + "i.png,,a,g,val\n"):
        for classes in (TWO, TWO + "pixel_value = 7\n"):
            hashes.add(read_manifest(folder_with(tmp_path, patches, classes)).sha256)
    assert len(hashes) == 4


@pytest.mark.parametrize(
    "row, message",
    [
        (",m.png,a,g,train", "no image"),
        ("i.png,,,g,train", "neither mask nor label"),
        ("i.png,,c,g,train", "label 'c' is none of the classes"),
        ("i.png,,a,,train", "no group"),
        ("i.png,,a,g,training", "split 'training' is none of train, val, test"),
        ("i.png,,a,g", "split '' is none"),
        ("i.png,,a,g,train,extra", "more fields than the header"),
        ("../i.png,,a,g,train", "leads out of the manifest's folder"),
        ("/etc/passwd,,a,g,train", "leads out of the manifest's folder"),
        ("i.png,sub/../../m.png,a,g,train", "mask 'sub/../../m.png' leads out"),
    ],
)
def test_a_faulty_row_is_named_by_its_line(tmp_path, row, message):
    folder = folder_with(tmp_path, HEADER + "ok.png,,a,g,train\n" + row + "\n")
    with pytest.raises(UserError, match="line 3") as error:
        read_manifest(folder)
    assert message in str(error.value)
    manifest, problems = parse_manifest(folder)
    assert len(manifest.patches) == 1 and len(problems) >= 1


@pytest.mark.parametrize("mpp", ["x", "0", "-1", "nan", "inf", "1e999"])
def test_mpp_must_be_a_positive_number(tmp_path, mpp):
    folder = folder_with(tmp_path, f"image,mask,label,group,split,mpp\ni.png,,a,g,train,{mpp}\n")
    with pytest.raises(UserError, match="mpp"):
        read_manifest(folder)


def test_all_faulty_rows_are_reported_at_once(tmp_path):
    folder = folder_with(tmp_path, HEADER + "".join(f"i{n}.png,,c,g,train\n" for n in range(5)))
    with pytest.raises(UserError) as error:
        read_manifest(folder)
    assert [f"line {n}:" in str(error.value) for n in range(1, 8)] == [False, *5 * [True], False]


def test_outside_is_allowed_on_request_and_links_are_followed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    inner = tmp_path / "manifest"
    inner.mkdir()
    (inner / "link").symlink_to(tmp_path / "elsewhere")
    folder = folder_with(inner, HEADER + "link/i.png,,a,g,train\n")
    with pytest.raises(UserError, match="leads out"):
        read_manifest(folder)
    assert len(read_manifest(folder, allow_outside=True).patches) == 1


@pytest.mark.parametrize(
    "patches, message",
    [
        (b"", "missing from the header"),
        (HEADER.encode(), "no rows"),
        (b"image,mask\ni,m\n", "label, group, split missing"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (HEADER.encode() + b"a\0b,,a,g,train\n", "NUL"),
        (HEADER.encode() + b"i\rx,,a,g,train\n", "line"),
        (HEADER.encode() + b"x" * 200_000 + b",,a,g,train\n", "no valid CSV"),
    ],
)
def test_a_file_that_is_no_patches_csv(tmp_path, patches, message):
    with pytest.raises(UserError, match=message):
        read_manifest(folder_with(tmp_path, patches))


def test_missing_files_are_named(tmp_path):
    with pytest.raises(UserError, match="patches.csv not found"):
        read_manifest(tmp_path / "nowhere")
    folder_with(tmp_path, HEADER + "i.png,,a,g,train\n")
    (tmp_path / "classes.toml").unlink()
    with pytest.raises(UserError, match="classes.toml not found"):
        read_manifest(tmp_path)
    (tmp_path / "classes.toml").mkdir()
    with pytest.raises(UserError, match="classes.toml cannot be read"):
        read_manifest(tmp_path)


def test_a_byte_order_mark_is_no_part_of_the_header(tmp_path):
    patches = ("\ufeff" + HEADER + "i.png,,a,g,train\n").encode()
    assert len(read_manifest(folder_with(tmp_path, patches, b"\xef\xbb\xbf" + TWO.encode())).patches) == 1


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "one \\[\\[class\\]\\] table"),
        ("class = 3", "one \\[\\[class\\]\\] table"),
        ("= broken", "not valid TOML"),
        ('[[class]]\nname = "a"\n', "colour must be three numbers"),
        ('[[class]]\nname = "a"\ncolour = [0, 0, 256]\n', "colour must be three numbers"),
        ('[[class]]\nname = "a"\ncolour = [0, 0, true]\n', "colour must be three numbers"),
        ("[[class]]\ncolour = [0, 0, 0]\n", "name missing"),
        (TWO + "pixel_value = 70000\n", "pixel_value must be a number"),
        (TWO + "pixel_value = 0\n", "pixel_value '0' is given to two"),
        (TWO + "color = [0, 0, 0]\n", "unknown key 'color'"),
        ("backgruond = 'a'\n" + TWO, "unknown key 'backgruond'"),
        ("background = 'c'\n" + TWO, "background 'c' is none"),
        ("ignore_value = 1\n" + TWO, "ignore_value 1"),
        (TWO + TWO, "is given to two classes"),
        (TWO.replace('"a"', r'"a\nb"'), "U\\+000A"),
        (TWO.replace('"a"', r'"a\u202eb"'), "U\\+202E"),
        (TWO.replace('"a"', r'"a\u0085"').replace("\n[[", "x\n[["), "TOML|U\\+0085"),
        (TWO.replace('"a"', r'"\u00e9"').replace('"b"', r'"e\u0301"'), r"xe9.*u0301.*look the same"),
        (TWO.replace('"a"', r'"\u212b"').replace('"b"', r'"\u00c5"'), r"u212b.*xc5.*look the same"),
        ("mixed_scales = 1\n" + TWO, "mixed_scales must be true or false"),
        (TWO + "pixel_value = 1.0\n", "pixel_value must be a number"),
        (TWO + "pixel_value = true\n", "pixel_value must be a number"),
        ("ignore_value = 65536\n" + TWO, "ignore_value 65536"),
        ("background = 1\n" + TWO, "background 1 is none"),
        (TWO.replace("[255, 0, 0]", "[-1, 0, 0]"), "colour must be three numbers"),
        (TWO.replace("[255, 0, 0]", '"red"'), "colour must be three numbers"),
        (TWO[:-9], "not valid TOML"),
        (
            "".join(f'[[class]]\nname = "{n}"\ncolour = [0, 0, 0]\n' for n in range(255)),
            "255 classes; at most 254",
        ),
    ],
)
def test_faulty_classes(text, message):
    with pytest.raises(UserError, match=message):
        parse_classes(text.encode(), Path("classes.toml"))


def test_all_faults_of_classes_come_at_once():
    with pytest.raises(UserError) as error:
        parse_classes(b'spam = 1\n[[class]]\nname = ""\ncolour = 3\npixel_value = -1\n', Path("c.toml"))
    assert all(word in str(error.value) for word in ("spam", "name", "colour", "pixel_value"))


@REPEATED
@given(st.binary(max_size=300))
@example(b"x = " + b"[" * 5000)
@example(b"x = 1" + b"0" * 5000)
@example(b"\xef\xbb\xbf")
def test_classes_of_any_bytes_parse_or_explain(content):
    try:
        assert isinstance(parse_classes(content, Path("classes.toml")), Classes)
    except UserError as error:
        assert "classes.toml" in str(error)


toml_value = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text("ab\n'\"é", max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
class_table = st.fixed_dictionaries(
    {},
    optional={
        "name": toml_value | st.sampled_from(["a", "b"]),
        "colour": toml_value | st.just([1, 2, 3]),
        "pixel_value": toml_value | st.integers(-1, 3),
        "other": toml_value,
    },
)


@REPEATED
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "class": st.lists(class_table, max_size=3) | toml_value,
            "background": toml_value | st.just("a"),
            "ignore_value": toml_value | st.just(255),
        },
    )
)
def test_classes_of_any_toml_parse_or_explain(table):
    try:
        parse_classes(tomli_w.dumps(table).encode(), Path("classes.toml"))
    except UserError as error:
        assert "classes.toml" in str(error)


@REPEATED
@given(
    st.binary(max_size=200) | st.text(",\"'\n\r\t ab./\\\0é\ud7ff", max_size=80).map(str.encode),
    st.booleans(),
)
@example(b'"', True)
@example(b'"\r', True)
def test_patches_of_any_bytes_parse_or_explain(tmp_path, content, headed):
    folder = folder_with(tmp_path, HEADER.encode() * headed + content)
    try:
        manifest, problems = parse_manifest(folder)
        assert isinstance(manifest, Manifest) and (manifest.patches or problems)
    except UserError as error:
        assert "patches.csv" in str(error)


name = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Z")), min_size=1, max_size=8)
file_name = name.filter(lambda text: text not in (".", "..") and "/" not in text and "\\" not in text)


@REPEATED
@given(st.data())
def test_what_is_written_is_read_back(tmp_path, data):
    values = data.draw(st.lists(st.integers(0, 65535), min_size=3, max_size=6, unique=True))
    names = data.draw(st.lists(name, min_size=2, max_size=len(values) - 1, unique=True))
    colour = st.tuples(*3 * [st.integers(0, 255)])
    classes = Classes(
        tuple(names),
        tuple(data.draw(colour) for _ in names),
        tuple(values[: len(names)]),
        data.draw(st.none() | st.integers(0, len(names) - 1)),
        data.draw(st.none() | st.just(values[-1])),
    )
    rows = [
        PatchRow(
            line=line,
            image=tmp_path / data.draw(file_name),
            mask=tmp_path / "masks" / data.draw(file_name) if has_mask else None,
            label=data.draw(st.integers(-1 if has_mask else 0, len(names) - 1)),
            group=data.draw(name),
            split=data.draw(st.sampled_from(["train", "val", "test"])),
            mpp=data.draw(st.none() | st.sampled_from([0.25, 0.4671, 7.5])),
            source=data.draw(st.just("") | name),
        )
        for line, has_mask in enumerate(data.draw(st.lists(st.booleans(), min_size=1, max_size=4)), start=2)
    ]
    write_classes(tmp_path, classes)
    write_patches(tmp_path, classes, rows)
    manifest = read_manifest(tmp_path)
    assert manifest.classes == classes
    assert manifest.patches == tuple(rows)


WHOLE = "allowed,bag,bag_label\n"


def test_wholes_are_read_and_written(tmp_path):
    text = (
        HEADER.replace("\n", ",")
        + WHOLE
        + "i.png,,,g,train,a;b,slide 1,a\nj.png,,,g,train,a;b,slide 1,a\nk.png,,b,h,train,,,\n"
    )
    manifest = read_manifest(folder_with(tmp_path, text))
    assert [(row.bag, row.bag_label) for row in manifest.patches] == [("slide 1", 0)] * 2 + [
        ("", IGNORE_LABEL)
    ]
    write_patches(tmp_path, manifest.classes, manifest.patches)
    assert read_manifest(tmp_path).patches == manifest.patches


@pytest.mark.parametrize(
    "row, words",
    [
        ("i.png,,,g,train,a;b,s,", "give both"),
        ("i.png,,,g,train,a;b,,a", "give both"),
        ("i.png,,,g,train,a;b,s,x", "'x' is none of the classes"),
        ("i.png,,a,g,train,a;b,s,a", "no mask and no label"),
        ("i.png,,,g,train,b,s,a", "not among the classes that allowed"),
        ("i.png,,,g,train,a;b,s,a\nj.png,,,h,train,a;b,s,a", "line 3: bag 's' has another"),
        ("i.png,,,g,train,a;b,s,a\nj.png,,,g,train,a;b,s,b", "line 3: bag 's' has another"),
    ],
)
def test_wholes_that_cannot_be_are_refused(tmp_path, row, words):
    with pytest.raises(UserError, match=words):
        read_manifest(folder_with(tmp_path, HEADER.replace("\n", ",") + WHOLE + row + "\n"))


def test_straddling_groups():
    def row(group, split):
        return PatchRow(2, Path("i"), None, 0, group, split)

    assert straddling_groups([row("a", "train"), row("a", "train"), row("b", "val")]) == {}
    assert straddling_groups([row("a", "train"), row("a", "test"), row("b", "val")]) == {
        "a": ["test", "train"]
    }


TEXTS = ("None", "NA", "nan", "01", "1e5", "True", "020", "null", "-inf", "=1+1", "+x", "@a", "-", "'=x")


def test_text_that_other_readers_guess_at_comes_back_as_it_is(tmp_path):
    """Formulas too: patches.csv is for programs, and what stands in it is never changed."""
    classes = Classes(TEXTS, tuple((code, 0, 0) for code in range(len(TEXTS))), tuple(range(len(TEXTS))))
    rows = [
        PatchRow(
            code + 2, tmp_path / f"{name}.png", tmp_path / name, code, name, "train", None, name, (code,)
        )
        for code, name in enumerate(TEXTS)
    ]
    write_classes(tmp_path, classes)
    write_patches(tmp_path, classes, rows)
    found = read_manifest(tmp_path)
    assert found.classes == classes and found.patches == tuple(rows)


@pytest.mark.parametrize("separator, name", [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_other_separators_are_named(tmp_path, separator, name):
    text = "\ufeff" + (HEADER + "i.png,,a,g,train\n").replace(",", separator)
    with pytest.raises(UserError, match=f"separated by {name}, expected commas.*CSV"):
        read_manifest(folder_with(tmp_path, text))


def test_rows_of_commas_that_a_spreadsheet_leaves_are_passed_over(tmp_path):
    text = HEADER.replace("\n", ",,\n") + "i.png,,a,g,train,,\n,,,,,,\n , ,,,\n,,,,,,,,\nj.png,,b,h,test,,,\n"
    manifest = read_manifest(folder_with(tmp_path, text.replace("\n", "\r\n")))
    assert [(row.line, row.group) for row in manifest.patches] == [(2, "g"), (6, "h")]


def test_a_header_with_spaces_is_read_and_one_with_a_column_twice_refused(tmp_path):
    text = HEADER.replace(",", " , ") + "i.png,,a,g,train\n"
    assert len(read_manifest(folder_with(tmp_path, text)).patches) == 1
    with pytest.raises(UserError, match="label stand in the header twice"):
        read_manifest(folder_with(tmp_path, "label," + text))


@pytest.mark.parametrize("column", ["image", "mask", "group", "source"])
@pytest.mark.parametrize("letter", ["\n", "\x07", "\u2028", "\u202e"])
def test_control_characters_are_refused(tmp_path, column, letter):
    fields = {"image": "i.png", "mask": "m.png", "label": "a", "group": "g", "split": "val", "source": "s"}
    fields[column] = f"x{letter}y"
    text = ",".join(fields) + "\n" + ",".join(f'"{field}"' for field in fields.values()) + "\n"
    with pytest.raises(UserError, match=rf"{column} 'x.*y' holds the control character U\+{ord(letter):04X}"):
        read_manifest(folder_with(tmp_path, text))


def test_names_of_other_scripts_are_welcome(tmp_path):
    classes = TWO.replace('"a"', '"ورم می\u200cشود"').replace('"b"', '"腫瘍 $x^$ <b>&_"')
    text = HEADER + "i.png,,ورم می\u200cشود,חולה,train\nj.png,,腫瘍 $x^$ <b>&_,患者,test\n"
    assert len(read_manifest(folder_with(tmp_path, text, classes)).patches) == 2


@pytest.mark.parametrize(
    "label, shown", [("e\u0301", r"'e\u0301'"), ("\u00c9", r"'\xc9'"), ("E\u0301", r"'E\u0301'")]
)
def test_a_label_that_is_nearly_a_class_is_shown_beside_it(tmp_path, label, shown):
    classes = TWO.replace('"a"', '"\u00e9"')
    with pytest.raises(UserError, match="line 2") as error:
        read_manifest(folder_with(tmp_path, HEADER + f"i.png,,{label},g,train\n", classes))
    assert shown in str(error.value) and r"'\xe9'" in str(error.value)


def test_a_message_does_not_list_two_hundred_classes(tmp_path):
    classes = "".join(f'[[class]]\nname = "class{n}"\ncolour = [{n}, 0, 0]\n' for n in range(250))
    with pytest.raises(UserError, match="class9 and 240 more") as error:
        read_manifest(folder_with(tmp_path, HEADER + "i.png,,c,g,train\n", classes))
    assert len(str(error.value)) < 400


def test_paths_are_outside_where_their_resolved_form_is(tmp_path):
    """Links of folders are followed once; the plain definition is asked for each path."""
    root, other = tmp_path / "root", tmp_path / "other"
    for folder in (root / "a" / "b", other):
        folder.mkdir(parents=True)
    for file in (root / "a" / "f.png", root / "f.png", other / "f.png"):
        file.write_bytes(b"x")
    (root / "out").symlink_to(other)
    (root / "in").symlink_to(root / "a")
    (root / "a" / "up").symlink_to(tmp_path)
    (root / "out.png").symlink_to(other / "f.png")
    (root / "in.png").symlink_to(root / "a" / "f.png")
    (root / "loop").symlink_to(root / "loop")
    outside = _outside_of(root)
    parts = ["a", "b", "in", "out", "up", "..", ".", "f.png", "out.png", "in.png", "loop", "missing", "root"]
    names = [*parts, *("/".join(pair) for pair in product(parts, repeat=2))]
    names += ["/".join(three) for three in product(parts, repeat=3)]
    seen = set()
    for name in [*names, str(other / "f.png"), str(root / "f.png")]:
        try:
            expected = not (root / name).resolve().is_relative_to(root.resolve())
        except (OSError, RuntimeError):
            expected = True
        assert outside(root / name) == expected, name
        seen.add(expected)
    assert seen == {True, False}
