"""Where keys and items stand in a TOML file."""

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wgbind.settings.toml_lines import Path, line_of, statement_lines

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TEXT = '''# a comment with [brackets] and "quotes
top = 1
quoted."a key" = 2 # [not.a.table]

[one]
text = "a # no comment, no ] end"
literal = 'C:\\'
long = """
[not.a.table]
key = 1 \\""" still \\
"""
raw = \'\'\'
x = ["
\'\'\'
list = [ # [
  "a", "b",
  ["c",
   "d"], # ]
  { x = 1, y = [1,
     2] },
  1979-05-27 07:32:00, 0x1F,
]
after = {inline.dotted = 1}

[one.two]
x = 1
[[many]]
a = 1
[many.sub]
b = 2

[[many]]
a = [
1]
[[many.inner]]
c = 1
[ spaced . out ]
d = 1'''

PLACES: list[tuple[Path, int]] = [
    (("top",), 2),
    (("quoted", "a key"), 3),
    (("one",), 5),
    (("one", "text"), 6),
    (("one", "literal"), 7),
    (("one", "long"), 8),
    (("one", "raw"), 12),
    (("one", "list"), 15),
    (("one", "list", 0), 16),
    (("one", "list", 1), 16),
    (("one", "list", 2), 17),
    (("one", "list", 2, 1), 18),
    (("one", "list", 3), 19),
    (("one", "list", 3, "y"), 19),
    (("one", "list", 3, "y", 1), 20),
    (("one", "list", 4), 21),
    (("one", "list", 5), 21),
    (("one", "after", "inline", "dotted"), 23),
    (("one", "two", "x"), 26),
    (("many", 0), 27),
    (("many", 0, "sub", "b"), 30),
    (("many", 1), 32),
    (("many", 1, "a", 0), 34),
    (("many", 1, "inner", 0, "c"), 36),
    (("spaced", "out", "d"), 38),
]


@pytest.mark.parametrize(("place", "line"), PLACES)
def test_line_of_a_place(place: Path, line: int) -> None:
    lines = statement_lines(TEXT)
    assert lines[place] == line
    assert line_of(place, lines) == line


def paths(value: Any, place: Path = ()) -> set[Path]:
    """Return the places of everything in parsed TOML."""
    pairs: list[tuple[int | str, Any]] = []
    if isinstance(value, dict):
        pairs = list(value.items())
    elif isinstance(value, list):
        pairs = list(enumerate(value))
    found = {place} if place else set()
    return found.union(*(paths(inner, (*place, key)) for key, inner in pairs))


def test_every_place_and_no_other_is_known() -> None:
    assert set(statement_lines(TEXT)) == paths(tomllib.loads(TEXT))


def test_what_is_not_there_is_where_its_holder_is() -> None:
    lines = statement_lines(TEXT)
    assert line_of(("one", "two", "missing"), lines) == 25
    assert line_of(("missing", "x"), lines) == 1
    assert line_of(("one", "list", "prefixes", 1), lines) == 16  # a list stands for a table
    assert line_of((), lines) == 1


values = st.recursive(
    st.sampled_from(["1", '"]"', "'#'", "true", '"a\\"b"', "1.5", '"""\n["""']),
    lambda inner: st.one_of(
        st.tuples(st.lists(inner, max_size=3), st.sampled_from([" ", "\n", " # [ ]\n"])).map(
            lambda each: f"[{each[1]}" + f",{each[1]}".join(each[0]) + f"{each[1]}]"
        ),
        st.lists(inner.filter(lambda text: "\n" not in text), max_size=3).map(
            lambda each: "{" + ", ".join(f"k{i} = {text}" for i, text in enumerate(each)) + "}"
        ),
    ),
    max_leaves=12,
)


@given(st.lists(values, max_size=4), st.lists(values, max_size=4))
def test_any_value_is_passed_over(first: list[str], second: list[str]) -> None:
    text = "".join(f"a{i} = {value}\n" for i, value in enumerate(first))
    text += "[[t]]\n" + "".join(f"b{i} = {value} # x\n" for i, value in enumerate(second))
    lines = statement_lines(text)
    assert set(lines) == paths(tomllib.loads(text))
    for place, line in lines.items():
        if len(place) == 1 and place != ("t",):
            assert text.split("\n")[line - 1].startswith(f"{place[0]} = ")
