"""Names in a condition over the manifest: columns, fields as on the command line, and what was probably meant."""

from __future__ import annotations

import pandas
import pytest

from songflow.catalog.manifest import empty_manifest, filter_manifest
from songflow.errors import InputError

FRAME = pandas.concat(
    [
        empty_manifest(),
        pandas.DataFrame(
            {
                "seconds": [10.0, 40.0],
                "title": ["a", "request.seed > 3"],
                "request.seed": [1, 7],
                "request.model_type": ["udio32-v1.5", "udio130-v1.5"],
                "request.generation_quality": [0.5, 1.0],
            }
        ),
    ]
)


@pytest.mark.parametrize(
    "condition",
    [
        "`request.seed` > 3",
        "request.seed > 3",
        "seed > 3 and seconds > 3",
        "model == 'udio130-v1.5'",
        "model_type == 'udio130-v1.5'",
        "quality > 0.7",
        "request.seed > request.generation_quality + 3",
        "title == 'request.seed > 3'",
    ],
)
def test_a_field_has_its_names(condition: str) -> None:
    """With and without backticks, bare, and as on the command line."""
    assert filter_manifest(FRAME, condition)["seconds"].to_list() == [40.0]


@pytest.mark.parametrize(
    ("condition", "meant"),
    [
        ("sconds > 3", "did you mean seconds?"),
        ("request.sede > 3", "did you mean request.seed?"),
        ("request.seconds > 3", "did you mean seconds?"),
        ("modle == 'x'", "did you mean mode or model?"),
        ("ratng > 3", "did you mean rating?"),
    ],
)
def test_a_misspelt_name_is_answered_with_the_one_that_was_meant(condition: str, meant: str) -> None:
    """In the message itself, before the list of all columns."""
    with pytest.raises(InputError) as error:
        filter_manifest(FRAME, condition)
    assert error.value.message.endswith(meant)


@pytest.mark.parametrize(
    "condition", ["title.upper() == 'A'", "(1).real == 1", "seconds.__class__ == 1", "qqqqq > 1"]
)
def test_a_dot_gives_access_to_nothing(condition: str) -> None:
    """Attributes and calls stay refused."""
    with pytest.raises(InputError):
        filter_manifest(FRAME, condition)
