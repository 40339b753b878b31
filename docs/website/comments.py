"""What the reference reads from a source as its authors mean it: comments behind attributes, and things in pairs."""

import ast
import io
import re
import tokenize

import griffe

TOGETHER = re.compile(r"^( +)(\*{0,2}\w+(?:, \*{0,2}\w+)+)(: .*(?:\n\1 +.*)*)", re.MULTILINE)


class Comments(griffe.Extension):
    """Adds to what griffe reads.

    `A, B = 1, 2` is two values, `a, b: text` describes two arguments, and a comment behind an attribute describes it.
    """

    def on_function_instance(self, *, func: griffe.Function, **_) -> None:
        """Describe each argument of those that are described together."""
        if func.docstring:
            func.docstring.value = separated(func.docstring.value)

    def on_module_members(self, *, node, mod: griffe.Module, **_) -> None:
        """Add the values that a module sets several of in one statement, and what comments say of values."""
        for statement in getattr(node, "body", ()):
            for name, value in pairs(statement):
                place = {"lineno": statement.lineno, "endlineno": statement.end_lineno}
                mod.set_member(name, griffe.Attribute(name, value=ast.unparse(value), parent=mod, **place))
        for name, text in commented(mod):
            mod[name].docstring = griffe.Docstring(text[0].upper() + text[1:], parent=mod[name])

    def on_class_members(self, *, cls: griffe.Class, **_) -> None:
        """List the attributes that have a comment, in a class whose docstring lists nothing yet."""
        if cls.docstring:
            cls.docstring.value = separated(cls.docstring.value)
            if found := commented(cls):
                cls.docstring.value += "\n\nAttributes:\n" + "\n".join(f"    {name}: {text}" for name, text in found)


def commented(thing: griffe.Class | griffe.Module) -> list[tuple[str, str]]:
    """Attributes and the comments behind them; none where the docstring lists attributes or arguments itself."""
    if thing.docstring and re.search(r"^(Attributes|Args):", thing.docstring.value, re.MULTILINE):
        return []
    found = []
    for name, member in thing.members.items():
        if isinstance(member, griffe.Attribute) and not member.docstring and not name.startswith("_"):
            lines = thing.lines_collection[thing.filepath][member.lineno - 1 : member.endlineno]
            found.append((name, comment_of("\n".join(lines).strip())))
    return [(name, text) for name, text in found if text and not text.startswith(("type:", "noqa", "fmt:"))]


def separated(docstring: str) -> str:
    """A docstring in which `a, b: text` stands as `a: text` and `b: text`."""
    each = lambda found: "\n".join(f"{found[1]}{name}{found[3]}" for name in found[2].split(", "))
    return TOGETHER.sub(each, docstring)


def pairs(statement: ast.stmt) -> list[tuple[str, ast.expr]]:
    """Names and values of `A, B = 1, 2`; none for another statement."""
    if not isinstance(statement, ast.Assign) or not isinstance(statement.value, ast.Tuple):
        return []
    targets = statement.targets[0]
    if not isinstance(targets, ast.Tuple) or len(targets.elts) != len(statement.value.elts):
        return []
    both = zip(targets.elts, statement.value.elts)
    return [(target.id, value) for target, value in both if isinstance(target, ast.Name)]


def comment_of(source: str) -> str:
    """The text of the comment in a statement; empty where it has none or several."""
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    except (tokenize.TokenError, IndentationError):
        return ""
    comments = [token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT]
    return comments[0] if len(comments) == 1 else ""
