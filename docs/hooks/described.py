"""Fields of a record with their types in words and the docstrings that stand beneath them."""

import ast
import inspect
import textwrap
from typing import Any

import msgspec
from msgspec import inspect as types


def field_docs(record: type) -> dict[str, str]:
    """Return the docstring beneath each field of a class, on one line.

    Raises:
        OSError: when the source is not at hand.
    """
    body = ast.parse(textwrap.dedent(inspect.getsource(record))).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field, below in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        ):
            found[field.target.id] = " ".join(below.value.value.split())
    return found


def field_types(record: type[msgspec.Struct]) -> dict[str, str]:
    """Return the type of each field in words."""
    info = types.type_info(record)
    assert isinstance(info, types.StructType)
    return {field.name: in_words(field.type) for field in info.fields}


def in_words(kind: Any) -> str:
    """Return a type in words.

    >>> from typing import Annotated
    >>> in_words(types.type_info(Annotated[int, msgspec.Meta(ge=1, le=100)] | None))
    'whole number, 1 to 100, or none'
    """
    match kind:
        case types.Metadata():
            return in_words(kind.type)
        case types.UnionType():
            return ", or ".join(in_words(each) for each in kind.types)
        case types.LiteralType():
            return ", ".join(f"`{value}`" for value in kind.values)
        case types.IntType() | types.FloatType():
            name = "whole number" if isinstance(kind, types.IntType) else "number"
            return ", ".join([name, *_bounds(kind)])
        case types.StrType():
            return "text" if kind.max_length is None else f"text, at most {kind.max_length:,}"
        case types.ListType():
            most = "" if kind.max_length is None else f", at most {kind.max_length:,}"
            return f"list of ({in_words(kind.item_type)}){most}"
        case types.DictType():
            return f"{in_words(kind.key_type)} → {in_words(kind.value_type)}"
        case types.StructType():
            return f"`{kind.cls.__name__}`"
        case types.CustomType():
            return kind.cls.__name__.lower()
        case types.DateTimeType():
            return "RFC 3339"
        case types.BoolType():
            return "true or false"
        case types.NoneType():
            return "none"
    raise NotImplementedError(type(kind).__name__)


def _bounds(kind: types.IntType | types.FloatType) -> list[str]:
    low, high = kind.ge, kind.le
    if low is not None and high is not None:
        return [f"{low:g} to {high:,g}"]
    bounds = (("at least", low), ("above", kind.gt), ("at most", high), ("below", kind.lt))
    return [f"{word} {bound:g}" for word, bound in bounds if bound is not None]


def cell(text: str) -> str:
    """Return text that may stand in a table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
