"""Entries of installed packages: used by their names, and left out with their package's name if they are faulty."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.packages import install, install_hummery, install_tunery

from songflow import entry_points
from songflow.accounts import access_from_environment, gateway_names
from songflow.entry_points import Registry
from songflow.errors import InputError
from songflow.families.family import Family
from songflow.families.registry import FAMILIES, _objection
from songflow.gateways import DIALECTS, Dialect
from songflow.gateways.dialects import CUSTOM, why_unknown

GATEWAYS = "songflow.gateways"
TUNE = "from tunery import TUNERY as TUNE\n"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of installed packages, which only this test sees."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)
    entry_points._declared.cache_clear()
    yield tmp_path
    for name in set(sys.modules) - before:
        if (tmp_path / f"{name}.py").exists():
            del sys.modules[name]
    entry_points._declared.cache_clear()


@pytest.fixture
def gateways() -> Registry[Dialect]:
    """A registry with our gateways, and nothing loaded yet."""
    return Registry(GATEWAYS, Dialect, DIALECTS.ours.values(), reserved=(CUSTOM,))


def test_a_gateway_is_imported_when_it_is_used_and_not_before(
    site: Path, gateways: Registry[Dialect]
) -> None:
    """Its name is known without that, and comes after ours."""
    install_tunery(site)
    assert gateways.names() == (*DIALECTS.ours, "tunery")
    assert "cometapi" in gateways
    assert "tunery" not in sys.modules
    assert gateways["tunery"].key_variable == "TUNERY_KEY"
    assert list(gateways) == [*DIALECTS.ours, "tunery"]
    assert (gateways.is_installed("tunery"), gateways.is_installed("cometapi")) == (True, False)
    assert (gateways.fault("tunery"), gateways.get("nothing"), gateways.fault("nothing")) == (
        None,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("module", "value", "reason"),
    [
        ("raise RuntimeError('no licence')", "broken:TUNE", "RuntimeError: no licence"),
        ("import sys\nsys.exit(3)", "broken:TUNE", "SystemExit: 3"),
        ("def (", "broken:TUNE", "SyntaxError"),
        ("", "broken:TUNE", "AttributeError"),
        ("", "nowhere:TUNE", "ModuleNotFoundError"),
        ("TUNE = 'text'", "broken:TUNE", "TypeError: broken:TUNE is a str and no Dialect"),
        (TUNE, "broken:TUNE", "ValueError: broken:TUNE is named 'tunery'"),
    ],
)
def test_a_faulty_entry_is_left_out_with_its_package_and_reason(
    site: Path,
    gateways: Registry[Dialect],
    caplog: pytest.LogCaptureFixture,
    module: str,
    value: str,
    reason: str,
) -> None:
    """Reported once, however often it is looked for; the others are there."""
    install_tunery(site)
    install(site, "breaker", {GATEWAYS: {"broken": value}}, broken=module)
    for _ in range(2):
        assert list(gateways) == [*DIALECTS.ours, "tunery"]
    fault = gateways.fault("broken")
    assert fault is not None
    assert fault.startswith(f"breaker 1.0: {reason}")
    (warned,) = caplog.messages
    assert (
        warned
        == f"breaker 1.0: the entry point 'broken' of songflow.gateways is not used: {fault.partition(': ')[2]}."
    )


def test_a_name_must_suit_command_lines_and_blocks(site: Path, gateways: Registry[Dialect]) -> None:
    """It stands before `=` in options, and is a block's name."""
    text = f"from dataclasses import replace\n{TUNE}TUNE = replace(TUNE, name='My_Tune')\n"
    install_tunery(site)
    install(site, "odd", {GATEWAYS: {"My_Tune": "odd:TUNE"}}, odd=text)
    assert "small letters and digits" in (gateways.fault("My_Tune") or "")


def test_a_name_that_is_taken_stays_with_its_owner(
    site: Path, gateways: Registry[Dialect], caplog: pytest.LogCaptureFixture
) -> None:
    """Ours stay ours; a name of two packages is neither's, since both would be paid under it."""
    install(site, "one", {GATEWAYS: {"kie": "one:X", "custom": "one:X", "tune": "one:TUNE"}}, one=TUNE)
    install(site, "two", {GATEWAYS: {"tune": "one:TUNE"}})
    assert gateways["kie"] is DIALECTS["kie"]
    assert list(gateways) == list(DIALECTS.ours)
    assert gateways.fault("kie") is None
    assert gateways.fault("tune") == "one 1.0, two 1.0: each of them declares it, so uninstall all but one"
    assert [message for message in caplog.messages if "Songflow has one of that name itself" in message] == [
        f"one 1.0: the entry point {name!r} of songflow.gateways is not used: Songflow has one of that name itself."
        for name in ("custom", "kie")
    ]


def test_a_package_whose_metadata_cannot_be_read_is_passed_over(
    site: Path, gateways: Registry[Dialect], caplog: pytest.LogCaptureFixture
) -> None:
    """With a warning that has its folder."""
    install_tunery(site)
    (site / "odd-1.0.dist-info").mkdir()
    (site / "odd-1.0.dist-info" / "entry_points.txt").write_text("[songflow.gateways]\nno equals sign\n")
    assert gateways.names() == (*DIALECTS.ours, "tunery")
    assert "odd-1.0.dist-info cannot be read" in caplog.text


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ("envelope='gen_params'", "gen_params belongs to the family udio"),
        ("models={'chirp-v4': HUM.models['hum-1']}", "chirp-v4 belongs to the family suno"),
    ],
)
def test_a_family_with_the_envelope_or_a_model_of_another_is_left_out(
    site: Path, changes: str, reason: str
) -> None:
    """They decide the family of a request, so each belongs to one."""
    install_hummery(site)
    text = f"from dataclasses import replace\nfrom hummery import HUM\nHUM2 = replace(HUM, name='hum2', {changes})\n"
    install(site, "second", {"songflow.families": {"hum2": "second:HUM2"}}, second=text)
    families = Registry("songflow.families", Family, FAMILIES.ours.values(), objection=_objection)
    assert list(families) == [*FAMILIES.ours, "hum"]
    assert families.fault("hum2") == f"second 1.0: ValueError: {reason}"


def test_a_gateway_that_is_faulty_or_missing_is_named(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bad input, with the package; and a ledger's gateway that is not installed has its name."""
    install(site, "breaker", {GATEWAYS: {"broken": "broken:TUNE"}}, broken="TUNE = 1")
    monkeypatch.setattr(DIALECTS, "_faults", {})
    assert "broken" in gateway_names()
    with pytest.raises(InputError, match=r"'broken' cannot be used: breaker 1\.0: TypeError") as caught:
        access_from_environment("broken")
    assert "repair or uninstall" in str(caught.value.next)
    assert "cannot be used: breaker 1.0" in why_unknown("broken")
    assert why_unknown("gone") == "no gateway 'gone' is installed here"
