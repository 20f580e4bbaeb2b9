"""A recipe is read completely, or refused with all of its faults and their lines; nothing is sent then."""

from __future__ import annotations

import pytest

from songflow.errors import InputError, InvalidDocument
from songflow.families.family import Mode
from songflow.recipes.model import Rule, TakeRule
from songflow.recipes.reading import plain_document, read_recipe, recipe_of_text
from songflow.recipes.shelf import described_recipe, find_recipe, portable, shipped_names, shipped_text

WHOLE = """\
name: A song
budget: 9
ask_timeout: 60
ask_default: longest
on_failed_take: stop
core:
  prompt: a slow waltz
  lyrics: la la
  take: {best: rms_db}
steps:
  - name: intro
    place: intro
    lyrics_type: instrumental
    take: ask
  - name: middle
    mode: continuation
    place: 0.5
    on_failed_take: other
    take: {best: peak, prefer: lowest}
  - name: outro
    from: intro
    place: outro
    model_type: udio130-v1.5
    take: all
"""

WRONG = """\
name: Everything is wrong
budget: 2
colour: red
core:
  prompt: a waltz
core:
  prompt: ${nobody}
  prompt_strength: 3
  lyrics: la
  lyrics_type: instrumental
  take: all
steps:
  - name: a
    from: b
    place: intro
  - name: b
    from: a
    place: 0.4
    mode: continuation
  - name: c
    from: nowhere
    place: top
    tempo: 90
  - name: core
    place: outro
  - name: c
    mode: precede
    place: 7
  - name: d
    mode: regular
    from:
    take: {best: colour}
  - place: outro
    take: best
    on_failed_take: maybe
"""


def faults_of(text: str, **given: object) -> tuple[str, ...]:
    with pytest.raises(InvalidDocument) as caught:
        recipe_of_text(text, "song.yaml", given)
    return caught.value.faults


def test_a_whole_recipe_is_read():
    recipe = recipe_of_text(WHOLE, "song.yaml")
    core, intro, middle, outro = recipe.steps
    assert (recipe.name, recipe.budget, recipe.ask_timeout) == ("A song", 9, 60)
    assert recipe.ask_default == TakeRule(Rule.LONGEST)
    assert [step.source for step in recipe.steps] == [None, "core", "intro", "intro"]
    assert core.take == TakeRule(Rule.BEST, "rms_db")
    assert middle.take == TakeRule(Rule.BEST, "peak", lowest=True)
    assert [step.stop_at_failed for step in recipe.steps] == [True, True, False, True]
    assert (intro.request.mode, intro.request.song_section_start) == (Mode.PRECEDE, 0)
    assert (middle.request.mode, middle.request.song_section_start) == (Mode.CONTINUATION, 0.5)
    assert (outro.request.mode, outro.request.song_section_start) == (Mode.CONTINUATION, 0.9)


def test_a_step_inherits_fields_from_its_source():
    core, intro, _, outro = recipe_of_text(WHOLE, "song.yaml").steps
    assert intro.request.prompt == core.request.prompt
    assert (intro.request.lyrics, intro.request.lyrics_type.value) == ("", "instrumental")
    assert (outro.request.lyrics_type.value, outro.request.model_type) == ("instrumental", "udio130-v1.5")


def test_all_faults_are_reported_with_their_lines():
    found = faults_of(WRONG)
    for fault in (
        "line 2: budget is 2 units, and the recipe costs 8",
        "line 3: colour is not known here",
        "line 6: core is a duplicate key",
        "line 7: core.prompt uses the variable 'nobody', which is not declared (there are: none)",
        "line 8: core.prompt_strength is 3: allowed is a number from 0 to 1",
        "line 9: core.lyrics is forbidden with lyrics_type instrumental (words of your own: user)",
        "line 14: steps.0.from forms a circle: a <- b <- a",
        "line 21: steps.2.from is 'nowhere', which is not the name of a step",
        "line 22: steps.2.place is 'top': allowed are intro, front, back, outro",
        "line 23: steps.2.tempo is not known here",
        "line 24: steps.3.name is 'core', a second core: a recipe has one, and steps extend it",
        "line 26: steps.4.name is 'c', as another step is called (line 20)",
        "line 28: steps.4.place is 7: allowed is a number from 0 to 1",
        "line 30: steps.5.mode is regular, a second core: a recipe has one, and steps extend it",
        "line 31: steps.5.from names no source",
        "line 32: steps.5.take.best is 'colour': allowed are seconds",
        "line 33: steps.6.name is required",
        "line 34: steps.6.take is 'best' without a measure: write {best: rms_db}",
        "line 35: steps.6.on_failed_take is 'maybe': allowed are other, stop",
    ):
        assert any(one.startswith(fault) for one in found), fault
    lines = [int(one.split(":")[0].removeprefix("line ")) for one in found]
    assert lines == sorted(lines)
    assert len(found) == 20, found  # and the missing place of steps.5


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("- a list", "line 1: must be a mapping with a core and steps"),
        ("steps: []", "line 1: core is required"),
        ("core: [{prompt: a}, {prompt: b}]", "line 1: core is a list: a recipe has one core"),
        ("core: {prompt: a}\nsteps: {name: x}", "line 2: steps must be a list"),
        ("core: {prompt: a}\nsteps: [x]", "line 2: steps.0 must be a mapping"),
        ("core: {prompt: a, context_length: 3}", "core.context_length is not known here"),
        ("core: {prompt: a, take: [1]}", "core.take is [1]: allowed are first, longest, all, ask"),
        ("core: {prompt: a, take: '{best: MEASURE}'}", "core.take is '{best: MEASURE}': allowed are first"),
        ("core: {prompt: a, take: {prefer: lowest}}", "core.take.best is missing: allowed are seconds"),
        ("core: {promt: a, prompt: a}", "core.promt is not known here: did you mean prompt?"),
        ("core: {prompt: a}\nask_default: all", "line 2: ask_default is 'all': allowed are first, longest"),
        ("core: {prompt: a}\nask_timeout: 0", "line 2: ask_timeout is 0: allowed is a number from 1"),
        ("core: {prompt: a}\nname: [x]", "line 2: name is ['x']: allowed is a text"),
        ("core: {prompt: a}\nbudget: true", "line 2: budget is True: allowed is a number from 0"),
        ("core: {prompt: a}\nsteps:\n- {name: x, from: x, place: intro}", "forms a circle: x <- x"),
        ("core: {prompt: a}\nsteps:\n- {name: x, place: 0.5}", "steps.0.mode is required with a place"),
        (
            "core: {prompt: a}\nsteps:\n- {name: x, mode: precede, place: 0.5, song_section_start: 0.4}",
            "steps.0.place and song_section_start set the same field",
        ),
        ("core: {prompt: a}\nsteps:\n- {name: x, mode: precede, place: outro}", "place"),
        ("core: {prompt: a}\nsteps:\n- {name: x.1, place: outro}", "is 'x.1': a name of small letters"),
        ("core: {prompt: a}\nfinish: mp3", "line 2: finish must be a mapping"),
        (
            "core: {prompt: a}\nfinish: {loudnes: 1}",
            "finish.loudnes is not known here: did you mean loudness?",
        ),
        ("core: {prompt: a}\nfinish: {true_peak: 3}", "finish.true_peak is 3: input should be less than"),
        ("core: {prompt: a}\nfinish: {start: 2, end: 1}", "finish end must come after start"),
        ("core: {prompt: '${}'}", "uses the variable ''"),
        ("variables: [a]\ncore: {prompt: a}", "line 1: variables must be a mapping"),
        ("variables: {a: [1]}\ncore: {prompt: a}", "variables.a must be a text, a number"),
        ("variables: {1a: x}\ncore: {prompt: a}", "variables.1a is not a valid name of a variable"),
    ],
)
def test_one_fault_alone(text: str, fault: str):
    found = faults_of(text)
    assert len(found) == 1
    assert fault in found[0]


def test_a_step_is_validated_even_if_its_source_is_not_valid():
    found = faults_of("core: {prompt: ''}\nsteps:\n- {name: x, place: intro, seed: no}")
    assert [fault.split(" is ")[0] for fault in found] == ["line 1: core.prompt", "line 3: steps.0.seed"]


# --- variables ---------------------------------------------------------------------------------------------------

VARIABLES = """\
variables:
  prompt:
  seed: 3
  raw: false
core:
  prompt: ${prompt}, $${not a variable}
  seed: ${seed}
  bypass_prompt_optimization: ${raw}
"""


def core_of(**given: object):
    return recipe_of_text(VARIABLES, "song.yaml", given).steps[0].request


def test_variables_are_replaced_by_given_values_or_defaults():
    request = core_of(prompt="a waltz")
    assert (request.prompt, request.seed) == ("a waltz, ${not a variable}", 3)


def test_a_variable_with_a_numeric_default_is_read_as_a_number():
    request = core_of(prompt="7", seed="7", raw="true")
    assert (request.prompt[0], request.seed, request.bypass_prompt_optimization) == ("7", 7, True)
    assert core_of(prompt="x", seed=8).seed == 8


def test_a_missing_unknown_or_mistyped_variable_is_a_fault():
    assert faults_of(VARIABLES, tempo="9", seed="fast", raw=1) == (
        "line 1: variables has no 'tempo', which was given (there are: prompt, seed, raw)",
        "line 2: variables.prompt is required (--set prompt=..., or a parameter)",
        "line 3: variables.seed is given as 'fast': allowed is a number",
        "line 4: variables.raw is given as 1: allowed is true or false",
    )
    assert "variables.prompt is given as 3: allowed is a text" in faults_of(VARIABLES, prompt=3)[0]
    for given, readings in (
        ("010", "8 or 10"),
        ("1_000", "1000 or the text '1_000'"),
        ("12:30", "750 or the text"),
    ):
        [fault] = faults_of(VARIABLES, prompt="010", seed=given)
        assert f"variables.seed is given as '{given}', which YAML readers take for {readings}" in fault
    assert "is given as '[': allowed is a number" in faults_of(VARIABLES, prompt="a", seed="[")[0]


# --- where recipes come from -------------------------------------------------------------------------------------


def test_plain_data_is_a_recipe_without_lines():
    recipe = read_recipe(plain_document({"core": {"prompt": "a waltz"}}))
    assert [step.name for step in recipe.steps] == ["core"]
    with pytest.raises(InvalidDocument, match=r"the recipe has 1 fault: core.prompt is ''"):
        find_recipe({"core": {"prompt": ""}})


@pytest.mark.parametrize("name", shipped_names())
def test_every_shipped_recipe_needs_a_prompt_and_nothing_else(name: str):
    recipe = find_recipe(name, {"prompt": "a waltz"})
    found = described_recipe(name)
    assert recipe.name == found["title"]
    assert recipe.description == found["description"]
    assert [variable for variable, default in found["variables"].items() if default is None] == ["prompt"]
    assert find_recipe(name, {"prompt": "a waltz", "core_take": "ask"}).steps[0].take.rule is Rule.ASK


def test_the_shipped_recipes_are_the_documented_ones():
    assert shipped_names() == ["full-song", "instrumental", "jingle-set", "radio-edit"]


def test_a_recipe_is_read_from_a_file_with_its_lines(tmp_path):
    path = tmp_path / "song.yaml"
    path.write_text(WHOLE)
    assert find_recipe(str(path)).name == "A song"
    assert find_recipe(portable(str(path))).name == "A song"
    assert portable("radio-edit") == "radio-edit"
    path.write_text(WRONG)
    with pytest.raises(InvalidDocument, match=r"song.yaml has 20 faults: line 2"):
        find_recipe(str(path))


def test_an_unknown_recipe_lists_the_shipped_ones(tmp_path):
    with pytest.raises(InputError, match=r"no recipe 'polka'.*full-song, instrumental"):
        find_recipe("polka")
    with pytest.raises(InputError, match=r"nowhere\.yaml cannot be read"):
        find_recipe(str(tmp_path / "nowhere.yaml"))


def test_the_text_of_a_shipped_recipe_is_a_recipe():
    assert find_recipe(shipped_text("radio-edit"), {"prompt": "a"}).name == "Radio edit"


@pytest.mark.parametrize(
    ("step", "fault"),
    [
        ({}, "place is required: the second of its source at which it begins (also as continue_at)"),
        (
            {"place": "outro"},
            "place is 'outro': these models continue a song at a second of it (continue_at)",
        ),
        ({"place": 0}, "place is 0: allowed is a number of seconds above 0"),
        ({"place": 2, "continue_at": 3}, "place and continue_at set the same field: give one of them"),
        ({"place": 2, "mode": "precede"}, "mode is 'precede': allowed is continuation"),
        ({"place": 2, "prompt_strength": 1}, "prompt_strength is not a field"),
    ],
)
def test_a_step_of_a_model_without_named_places_begins_at_a_second(step, fault):
    """Its fault is at its own line, and names what these models take."""
    core = {"prompt": "a waltz", "model_type": "chirp-auk"}
    with pytest.raises(InvalidDocument) as caught:
        read_recipe(plain_document({"core": core, "steps": [{"name": "more", **step}]}))
    (only,) = caught.value.faults
    assert fault in str(only)
