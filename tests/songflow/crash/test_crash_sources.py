"""Read from the sources: every act that lasts stands between two fail points, and every fail point is used."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import songflow
from songflow.ledger.states import State
from songflow.runtime.failpoints import ACTS, COMMITS, FAIL_POINTS

PACKAGE = Path(songflow.__file__).parent
# The simulator is the other side; migrations run inside the "migrate" commit; exports and backups can be made again.
APART = ("simulator/", "ledger/migrations/", "ledger/backup.py", "catalog/export.py")
Function = ast.FunctionDef | ast.AsyncFunctionDef
UPLOADS = {"put_file", "put", "upload", "pipe", "pipe_file"}


@cache
def files() -> dict[str, ast.Module]:
    """Every module of the package that is looked at, by its path."""
    return {
        name: ast.parse(path.read_text())
        for path in sorted(PACKAGE.rglob("*.py"))
        if not (name := path.relative_to(PACKAGE).as_posix()).startswith(APART) and name != "failpoints.py"
    }


def functions() -> Iterator[tuple[str, Function]]:
    """Every function of the package, with its file."""
    for name, tree in files().items():
        for node in ast.walk(tree):
            if isinstance(node, Function):
                yield name, node


def calls(node: ast.AST) -> Iterator[ast.Call]:
    """Every call inside a node, not those of functions nested in it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function):
            continue
        if isinstance(child, ast.Call):
            yield child
        yield from calls(child)


def name_of(call: ast.Call) -> str:
    """What is called, as it is written: `os.fsync`, `part.replace`."""
    return ast.unparse(call.func)


def points(function: Function) -> list[tuple[int, str]]:
    """The fail points of a function, as (line, text in the source)."""
    return [
        (call.lineno, str(ast.literal_eval(call.args[0])))
        for call in calls(function)
        if name_of(call) == "reached" and isinstance(call.args[0], ast.Constant)
    ]


def is_act(call: ast.Call) -> str | None:
    """The kind of an outward act that lasts, or None."""
    name = name_of(call)
    if name == "self._answer_of":
        return "handover"
    attribute = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    if attribute in {"fsync", "fdatasync"}:
        return "fsync"
    if attribute not in {"replace", "rename", "link", "move", "submit", *UPLOADS}:
        return None
    if name in {"os.replace", "os.rename", "os.link", "shutil.move"}:
        return "rename"
    # A path's `replace` and `rename` take one path; a text's take two texts, a date's only names.
    if attribute in {"replace", "rename"} and len(call.args) == 1 and not call.keywords:
        return "rename"
    if attribute in UPLOADS and "remote" in name:
        return "upload"
    if name == "gateway.submit":
        return "request"
    return None


@cache
def acts_in_code() -> list[tuple[str, Function, ast.Call, str]]:
    """Every outward act that lasts: where it is, its function, its call, and its kind."""
    return [
        (f"{file}: {function.name}: {name_of(call)}", function, call, kind)
        for file, function in functions()
        for call in calls(function)
        if (kind := is_act(call)) is not None
    ]


def test_the_acts_are_found() -> None:
    """The test below looks at something: as many acts as the list of fail points has beside the commits."""
    kinds = sorted(kind for *_, kind in acts_in_code())
    assert kinds == sorted(kind for _, kind in ACTS if kind != "commit")


def test_every_act_stands_between_two_fail_points() -> None:
    """The nearest points before and after an act, in its own function, are its own."""
    for place, function, call, kind in acts_in_code():
        known = points(function)
        before = [point for line, point in known if line < call.lineno]
        after = [point for line, point in known if line > call.lineno]
        assert before, f"{place}: no fail point before it"
        assert after, f"{place}: no fail point after it"
        act, _, told = before[-1].partition(": before ")
        assert told == kind, place
        assert after[0] == f"{act}: after {kind}", place
        assert (act, kind) in ACTS, place


def _acts_of_writes() -> Iterator[tuple[str, str, ast.expr]]:
    """The argument of every `.write(` on a database, with its function."""
    for file, function in functions():
        for call in calls(function):
            name = name_of(call)
            if name.endswith(("database.write", "self.write")) and file.startswith("ledger/"):
                assert len(call.args) == 1, f"{file}: {function.name} writes without the name of its act"
                yield file, function.name, call.args[0]


def test_every_commit_names_its_act() -> None:
    """A transaction that writes says which fail points it has, and each name of the list is used by one."""
    named: set[str] = set()
    for file, function, argument in _acts_of_writes():
        if isinstance(argument, ast.Constant):
            named.add(argument.value)
            continue
        # Names that are known only at run time: a state, or what a caller in the same file hands in.
        written = ast.unparse(argument)
        assert (file, function, written) in {
            ("ledger/submissions.py", "_move", "str(to)"),
            ("ledger/songs.py", "ended", "str(state)"),
            ("ledger/songs.py", "_update", "act"),
        }, f"{file}: {function} writes {written}: say here which acts that can be"
    named |= {str(state) for state in State} - {"intended"}  # an intent is made by "intent"
    for function in (one for file, one in functions() if file == "ledger/songs.py"):
        for call in calls(function):
            if name_of(call) == "self._update":
                named.add(ast.literal_eval(call.args[0]))
    assert named == set(COMMITS)


# The listening room has an index of its own, in a file of its own, that may be deleted at any time.
OWN_INDEX = ("listening/facets.py", "listening/index.py", "listening/index_file.py")


def test_only_the_ledger_writes_to_its_database() -> None:
    """No transaction is begun around `Database.write`, so none can miss its fail points."""
    homes = {
        ("_engine.begin", "create_async_engine", "_backend.write"): "ledger/engine.py",
        ("create_engine", "_engine.connect", "sqlite3.connect"): "ledger/sqlite_file.py",
    }
    for file, tree in files().items():
        if file.startswith("simulator/"):  # a gateway keeps books of its own
            continue
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            name = name_of(call)
            if name.endswith(("database.write", ".commit")):
                assert file.startswith("ledger/"), f"{file}: {name}"
            if file in OWN_INDEX:
                continue
            for names, home in homes.items():
                if name.endswith(names) and name != "self._engine.connect":
                    assert file == home, f"{file}: {name}"
            said = call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else ""
            if said in {"BEGIN", "BEGIN IMMEDIATE", "COMMIT"}:
                assert file == "ledger/sqlite_file.py", f"{file}: {said}"


def test_every_point_in_the_code_is_in_the_list_and_every_listed_one_is_in_the_code() -> None:
    """The list is the truth: a test that goes through it goes through everything."""
    inside = {f"{act}: {when} commit" for act in COMMITS for when in ("before", "after")}
    used = {point for _, function in functions() for _, point in points(function)}
    assert used <= set(FAIL_POINTS)
    assert used | inside == set(FAIL_POINTS)
    computed = [
        (file, ast.unparse(call.args[0]))
        for file, function in functions()
        for call in calls(function)
        if name_of(call) == "reached" and not isinstance(call.args[0], ast.Constant)
    ]
    assert computed == [
        ("ledger/engine.py", "f'{act}: before commit'"),
        ("ledger/engine.py", "f'{act}: after commit'"),
    ]


def test_the_list_has_no_name_twice() -> None:
    """Each name means one place."""
    assert len(FAIL_POINTS) == len(set(FAIL_POINTS))
