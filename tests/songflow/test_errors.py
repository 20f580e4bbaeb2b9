"""The tree of errors: exit codes, what is billed, and facts that survive pickling."""

from __future__ import annotations

import inspect
import pickle

import pytest

import songflow
from songflow import errors
from songflow.gateways import RefusalKind
from songflow.generation import error_texts as messages

EXIT_CODES = {
    "SongflowError": 1,
    "InputError": 2,
    "InvalidDocument": 2,
    "InvalidEnvironment": 2,
    "InvalidRequest": 2,
    "KeyConflict": 2,
    "MissingCredentials": 2,
    "LibraryError": 2,
    "NotBilled": 3,
    "RequestRefused": 3,
    "RequestNotSent": 3,
    "GenerationFailed": 4,
    "Unsettled": 5,
    "StillRunning": 5,
    "OutcomeUnknown": 5,
    "GenerationLost": 5,
    "NotCollected": 5,
    "LedgerOutdated": 5,
    "UnsettledTwin": 5,
    "ChoiceNeeded": 5,
    "SpendingStopped": 6,
}


def _classes() -> list[type[errors.SongflowError]]:
    found = [value for name, value in inspect.getmembers(errors, inspect.isclass) if not name.startswith("_")]
    return [value for value in found if issubclass(value, errors.SongflowError)]


def test_each_error_has_its_exit_code() -> None:
    """Scripts rely on them: they never change."""
    assert {error.__name__: error.exit_code for error in _classes()} == EXIT_CODES


@pytest.mark.parametrize("module", [errors, messages])
def test_what_is_exported_is_sorted_and_all(module) -> None:
    """`__all__` names everything that is public here."""
    own = [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]
    assert module.__all__ == sorted(own)


def test_the_picture_of_the_tree_shows_every_error() -> None:
    """The docstring's tree is that of the classes."""
    for name in EXIT_CODES:
        assert name in errors.__doc__


@pytest.mark.parametrize("kind", _classes())
def test_an_error_keeps_its_facts_when_it_is_pickled(kind: type[errors.SongflowError]) -> None:
    """Prefect stores exceptions that way."""
    error = kind(
        "It happened.",
        key="k",
        generation_id="g",
        state="running",
        billed="maybe",
        next="do this.",
        repeatable=True,
        retry_after=3.0,
    )
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert again.facts() == error.facts()
    assert (again.message, str(again)) == ("It happened.", "It happened. Next: do this.")


def test_an_error_without_advice_is_its_message() -> None:
    """Its billing is the default of its class."""
    assert str(errors.InputError("No.")) == "No."
    assert errors.InputError("No.").billed == "no"
    assert errors.OutcomeUnknown("?").billed == "maybe"
    assert errors.StillRunning("...").billed == "yes"
    assert errors.UnsettledTwin("!").billed == "no"


def test_every_kind_of_refusal_has_its_advice() -> None:
    """No refusal leaves a person without a next step."""
    assert set(messages._ADVICE) == set(RefusalKind)


def test_the_public_names_are_loaded_when_they_are_used() -> None:
    """`import songflow` costs nothing, and every name in `__all__` is there."""
    assert set(songflow.__all__) <= set(dir(songflow))
    for name in songflow.__all__:
        assert getattr(songflow, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = songflow.no_such_name
