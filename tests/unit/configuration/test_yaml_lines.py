"""YAML becomes plain data with line numbers."""

from __future__ import annotations

from typing import Any

import pytest

from fcemu.configuration.yaml_lines import UnusableFile, parse


def test_each_key_and_item_has_its_line() -> None:
    """Keys and list items are found on the line on which they are written."""
    reader, data = parse("a: 1\nb:\n  - x\n  - c: y\n")
    assert data == {"a": 1, "b": ["x", {"c": "y"}]}
    assert reader.lines == {("a",): 1, ("b",): 2, ("b", 0): 3, ("b", 1): 4, ("b", 1, "c"): 4}


def test_merged_key_has_the_line_of_its_anchor() -> None:
    """A merged key has the line of its anchor, unless it is overridden."""
    reader, data = parse("x: &x\n  a: 1\n  b: 2\ny:\n  <<: *x\n  b: 3\n")
    assert data["y"] == {"a": 1, "b": 3}
    assert (reader.lines["y", "a"], reader.lines["y", "b"]) == (2, 6)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"), ("yes", "yes"), ("12:30", "12:30"), ("2024-01-01", "2024-01-01"), ("010", 10), ("0x10", 16),
        ("true", True), ("~", None), ("1.5", 1.5), ("'1'", "1"), ("1_000", "1_000"),
    ],
)  # fmt: skip
def test_plain_scalars_are_those_of_yaml_1_2(text: str, value: Any) -> None:
    """An unquoted word is a string, a number or a boolean as in YAML 1.2."""
    assert parse(f"a: {text}")[1] == {"a": value}


def test_key_written_twice_is_a_finding() -> None:
    """A duplicate key is reported with the line of the first."""
    (finding,) = parse("a: 1\na: 2\n")[0].duplicates
    assert "first on line 1" in finding.text


@pytest.mark.parametrize("text", ["a: [1", "a:\n\t- b", "a: b: c", "a: *nowhere", "a: 1\n---\nb: 2"])
def test_broken_yaml_is_unusable_and_says_what_to_do(text: str) -> None:
    """A syntax error names a line and gives advice."""
    with pytest.raises(UnusableFile) as caught:
        parse(text)
    assert caught.value.line >= 1
    assert ";" in caught.value.text


def test_anchors_that_multiply_are_refused() -> None:
    """A short file whose aliases expand without end is refused."""
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    with pytest.raises(UnusableFile, match="expand"):
        parse("\n".join(lines))


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a: 1\nb: \x01", 2, "a character that YAML does not allow (#x0001)"),
        ("a: " + "[" * 3000, 1, "nested too deeply"),
        ("a: &x\n  b: *x", 1, "nested too deeply"),
    ],
    ids=["control character", "deep", "circle"],
)
def test_what_cannot_be_read_at_all_is_unusable(text: str, line: int, said: str) -> None:
    """A file that cannot be parsed is refused, with the line if it is known."""
    with pytest.raises(UnusableFile) as caught:
        parse(text)
    assert caught.value.line == line
    assert said in caught.value.text


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("a: !!int x", ("a",)),
        ("a: !custom x", ("a",)),
        ("a: " + "9" * 5000, ("a",)),
        ("a: !!bool maybe", ("a",)),
        ('a: "\\ud800"', ("a",)),
        ("a:\n  <<: 3", ("a", "<<")),
        ("a:\n  ? [b]\n  : c", ("a",)),
    ],
)
def test_value_that_cannot_be_read_is_a_finding(text: str, path: tuple[str, ...]) -> None:
    """A wrong tag, a lone surrogate, a merge of no mapping, and a key that is not a string are findings."""
    (finding,) = parse(text)[0].unreadable
    assert finding.path == path


def test_merge_takes_several_bases() -> None:
    """In a list of merges, an earlier mapping takes precedence over a later one."""
    text = "x: &x {a: 1}\ny: &y {a: 2, b: 3}\nz:\n  <<: [*x, *y]\n"
    assert parse(text)[1]["z"] == {"a": 1, "b": 3}


@pytest.mark.parametrize(("text", "value"), [(".inf", float("inf")), ("-.Inf", float("-inf")), ("<<", "<<")])
def test_odd_scalars_are_read(text: str, value: Any) -> None:
    """Infinity is a number, and `<<` as a value is a string."""
    assert parse(f"a: [{text}]")[1] == {"a": [value]}


def test_empty_file_is_nothing() -> None:
    """A file without a value gives None."""
    assert parse("# only a comment\n")[1] is None
