"""Every command in environments that cannot be read, or whose servers are not what they seem.

Each command runs once under one of them in turn, and each of them meets several commands: an exit code, one sentence
that names the variable, no traceback, and `billed` true to the gateway's own bill.
"""

from __future__ import annotations

import itertools
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from support.not_prefect import ANSWERS, http, listening

from cli.app import _COMMANDS

RECIPE = "name: One step\ncore:\n  prompt: a waltz\n  take: first\n"
SPEC = "prompt: a polka\nlyrics_type: instrumental\ngrid:\n  seed: [1, 2]\n"

UNREADABLE = {
    "ALL_PROXY": ["socks://127.0.0.1:1080/", "socks5://127.0.0.1:1080", "all_proxy=gopher://h:1"],
    "HTTPS_PROXY": ["socks5h://user:pa55word@127.0.0.1:1", "http://h:port", "https_proxy=http://h:99999"],
    "HTTP_PROXY": ["http://", "http://[::1"],
    "NO_PROXY": ["[::1]", "localhost,fd07::/64", "no_proxy=10.0.0.0/99"],
    "SSL_CERT_FILE": ["missing.pem", ".", "/dev/null"],
    "SSL_CERT_DIR": ["missing"],
    "SSLKEYLOGFILE": ["missing/keys.log"],
}
"""Values that no HTTP client can be opened with; `name=value` is another spelling of the variable."""

NO_ADDRESS = [
    "http://h:port/api",
    "http://h:99999/api",
    "127.0.0.1:4200/api",
    "ftp://h/api",
    "http:///api",
    "http://[::1/api",
]
"""Values of PREFECT_API_URL that are no address."""


def environments() -> list[tuple[str, dict[str, str | None]]]:
    """The variable, and the environment with one of its values."""
    found = []
    for variable, values in UNREADABLE.items():
        for text in values:
            name, given, value = text.partition("=")
            name, value = (name, value) if given and "/" not in name else (variable, text)
            cleared = {"SSL_CERT_FILE": None} if variable == "SSL_CERT_DIR" else {}
            found.append((name, {**cleared, name: value}))
    return found


@dataclass
class Scene:
    """A library with songs, one that waits for a rescue, and one of unknown outcome."""

    shell: Any
    server: Any
    to: list[str]
    song: str
    spec: str
    recipe: str
    slow: list[str]

    @property
    def billed(self) -> int:
        """Requests on the gateway's bill."""
        return len(self.server.bill())

    def paying(self, number: int) -> list[list[str]]:
        """The commands that pay, with keys of their own."""
        key = ["--key", f"broken-{number}"]
        return [
            ["generate", "a march", *key, *self.to],
            ["generate", "a march by the simulator", *key, "--json"],
            ["extend", self.song, *key, "--poll-interval", "0.1", "--json"],
            ["song", self.recipe, *key, *self.to],
            ["sweep", "run", self.spec, *self.to],
            ["rescue", "--resubmit", "lost", "--yes", "--json"],
            ["lyrics", "a march", *key, "--json"],
            ["demo", "--json"],
        ]

    def looking(self) -> list[list[str]]:
        """The commands that need no network."""
        return [
            ["--version"],
            ["songs", "--json"],
            ["songs", "--tree"],
            ["export", "--output", "exported", "--json"],
            ["rate", self.song, "4", "--json"],
            ["keep", self.song, "--json"],
            ["discard", self.song, "--json"],
            ["finish", self.song, "--json"],
            ["import", "judgements.json", "--json"],
            ["measure", "--json"],
            ["rescue", "--list", "--json"],
            ["song", "--list", "--json"],
            ["song", self.recipe, "--plan", *self.to],
            ["sweep", "plan", self.spec, *[one for one in self.to if one not in ("--poll-interval", "0.1")]],
            [
                "sweep",
                "status",
                self.spec,
                "--once",
                *[one for one in self.to if one not in ("--poll-interval", "0.1")],
            ],
            ["pause", "for a while", "--json"],
            ["resume", "--json"],
            ["backup", "copy.sqlite", "--json"],
            ["rebuild", "songs/audio", "--json"],
            # These have nothing to do here, in any environment.
            ["stitch", self.song, "--json"],
            ["sweep", "report", self.spec, "--json"],
            ["sweep", "suggest", self.spec, "--json"],
            ["setup", "--json"],
        ]

    def serving(self) -> list[list[str]]:
        """The commands that run until Ctrl-C."""
        return [["listen", "--port", "0"], ["simulate", "--port", "0"], ["webhooks", "--port", "0"]]


@pytest.fixture
def scene(shell: Any, gateways: Any, to: Any) -> Scene:
    """Made in an environment that is in order."""
    server = gateways({"fault": "lost_answer"}, pool=2)
    where, slow = to(server), to(gateways(speed=30.0, pool=2), "openai-hk")
    lost = shell.run("generate", "lose me", "--key", "lost", *where)
    assert lost.json["state"] == "unknown", lost.err
    made = shell.run("generate", "a waltz", *where)
    assert made.code == 0, made.err
    assert shell.run("generate", "a late one", "--deadline", "0", "--key", "late", *slow).code == 5
    (shell.folder / "polka.yaml").write_text(SPEC)
    (shell.folder / "one.yaml").write_text(RECIPE)
    (shell.folder / "judgements.json").write_text('{"songflow_judgements": 1, "judgements": []}')
    song = made.json["songs"][0]["song_id"]
    return Scene(shell, server, where, song, "polka.yaml", "one.yaml", slow)


RECEIVER = {
    "SONGFLOW_WEBHOOK_URL": "https://callbacks.example.com",
    "SONGFLOW_WEBHOOK_SECRET": "s3cret-of-callbacks",
}


def one_sentence(run: Any, *names: str) -> None:
    """Exit 2 with one message, that names what is wrong and what to do; nothing is billed."""
    assert run.code == 2, (run.code, run.err)
    assert (run.err.count("songflow: "), run.err.count("Next: ")) == (1, 1), run.err
    assert "unexpected" not in run.err
    assert "pa55word" not in run.err + run.out
    for name in names:
        assert name in run.err
    if run.out:
        answer = run.json
        assert answer["billed"] == ("maybe" if answer["state"] == "unknown" else "no"), answer
        assert answer["next"]


def test_no_command_pays_where_nothing_can_be_reached(scene: Scene) -> None:
    """Proxies and certificates that cannot be used end a paying command before it has begun; a look needs none."""
    before, broken = scene.billed, environments()
    for number, (name, environment) in enumerate(broken):
        choices = scene.paying(number)
        one_sentence(scene.shell.run(*choices[number % len(choices)], env=environment), name)
    looks = scene.looking()
    for command, (_, environment) in zip(looks, itertools.cycle(broken), strict=False):
        run = scene.shell.run(*command, env=environment)
        idle = command in looks[-4:]
        assert run.code == (2 if idle else 0), (command, environment, run.err)
        assert not idle or not any(name in run.err for name in UNREADABLE)
    for command, (_, environment) in zip(scene.serving(), broken[-3:], strict=True):
        run = scene.shell.interrupt(scene.shell.start(*command, env={**environment, **RECEIVER}), "Ctrl-C")
        assert run.code == 0, run.err
    commands = [*scene.paying(0), *looks, *scene.serving(), ["doctor"]]
    assert {command[0] for command in commands} - {"--version"} == set(_COMMANDS), "no command is left out"
    # What is paid for already stays paid for: not collected, and named.
    name, environment = broken[0]
    for command in (["rescue", "--json"], ["generate", "a late one", "--key", "late", *scene.slow]):
        run = scene.shell.run(*command, env=environment)
        assert run.code == 5, run.err
        assert name in run.out + run.err
    assert (run.json["billed"], run.json["key"]) == ("yes", "late")
    assert scene.billed == before
    rescued = scene.shell.run("rescue", "--json").json["rescued"]
    assert [len(row["songs"]) for row in rescued if row["key"] == "late"] == [2]
    for name, environment in (broken[0], broken[-6], broken[-3]):
        doctor = scene.shell.run("doctor", "--json", env=environment)
        check = checked(doctor, "network")
        assert (doctor.code, check["state"]) == (1, "bad"), doctor.out
        assert name in check["said"]
        assert name in check["mend"]


def test_an_address_of_prefect_that_is_none_is_named(scene: Scene) -> None:
    """By the commands that would use it; the others do not read it."""
    before = scene.billed
    for number, address in enumerate(NO_ADDRESS):
        environment = {"PREFECT_API_URL": address}
        command = (*scene.paying(number)[:5], ["setup"], ["generate", "x", "--credentials", "mine", "--json"])
        one_sentence(scene.shell.run(*command[number], env=environment), "PREFECT_API_URL", address[-8:])
        look = scene.looking()[number * 2]
        assert scene.shell.run(*look, env=environment).code == 0, look
    doctor = scene.shell.run("doctor", "--json", env=environment)
    assert (doctor.code, checked(doctor, "Prefect server")["state"]) == (1, "bad")
    assert "PREFECT_API_URL" in checked(doctor, "Prefect server")["said"]
    assert scene.billed == before


def test_settings_that_prefect_refuses_are_named_and_nothing_is_paid(scene: Scene) -> None:
    """A number that is none, in a variable or in the profile; a certificate that is not there."""
    before = scene.billed
    with listening(lambda _: http(200, "true")) as (url, _):
        for variable, value in (
            ("PREFECT_API_REQUEST_TIMEOUT", "soon"),
            ("PREFECT_API_SSL_CERT_FILE", "missing.pem"),
            ("PREFECT_API_TLS_INSECURE_SKIP_VERIFY", "perhaps"),
            ("SONGFLOW_PREFECT", "perhaps"),
        ):
            environment = {"PREFECT_API_URL": f"{url}/api", variable: value}
            run = scene.shell.run("generate", "x", "--key", "refused", *scene.to, env=environment)
            one_sentence(run, variable.removeprefix("PREFECT_API_").lower() if value == "soon" else variable)
    assert scene.billed == before


def test_a_port_that_is_no_prefect_server_is_done_without(scene: Scene) -> None:
    """Each command under another kind of port: it is made in plain Python, with one line that says why."""
    with ExitStack() as ports:
        urls = {kind: ports.enter_context(listening(answer))[0] for kind, answer in ANSWERS.items()}
        addresses = {kind: f"{url}/api" for kind, url in urls.items()}
        addresses["TLS on a port without it"] = addresses["404"].replace("http:", "https:")
        addresses["nothing"] = "http://127.0.0.1:1/api"
        before = scene.billed
        kinds = ["401", "HTML", "503", "silent", "a password", "TLS on a port without it", "nothing"]
        for number, kind in enumerate(kinds):
            command = scene.paying(number)[number % 4 if number % 4 != 1 else 0]
            run = scene.shell.run(*command, env={"PREFECT_API_URL": addresses[kind]})
            assert (run.code, run.json.get("billed", "yes")) == (0, "yes"), (kind, run.err)
            [line] = [line for line in run.err.splitlines() if "running without it" in line]
            assert addresses[kind] in line, line
        assert scene.billed == before + len(kinds)
        one_sentence(scene.shell.run("setup", env={"PREFECT_API_URL": addresses["302"]}), addresses["302"])
        for kind in ("a password", "500"):
            environment = {"PREFECT_API_URL": addresses[kind]}
            one_sentence(
                scene.shell.run("generate", "x", "--credentials", "mine", "--json", env=environment),
                "mine", addresses[kind],
            )  # fmt: skip
            check = checked(scene.shell.run("doctor", "--json", env=environment), "Prefect server")
            assert check["state"] == "bad"
            assert ("PREFECT_API_AUTH_STRING" in check["said"]) == (kind == "a password")


SETTINGS = {
    "SONGFLOW_AUDIO_URL": [
        "memory://songs",
        "zip://songs.zip",
        "ftp://127.0.0.1:1/songs",
        "s3://bucket/songs",
        "x::y://z",
    ],
    "SONGFLOW_NAME_TEMPLATE": ["{title:9}", "{nope}", "{"],
    "SONGFLOW_LEDGER_URL": ["nonsense", "mysql://h/d"],
    "SONGFLOW_BUDGET": ["much", "-1", "nan"],
    "SONGFLOW_COVERS": ["perhaps"],
    "SONGFLOW_LIBRARY": ["/dev/null/songs", "~nobody-has-this-name/songs"],
    "SONGFLOW_RESOLVER_NETWORKS": ["198.18.0.0/99"],
    "COMETAPI_KEY": ["sk-one\nsk-two", "\ufeffsk-0123456789"],
}


def test_a_setting_that_cannot_be_used_is_refused_by_doctor_and_before_a_post(scene: Scene) -> None:
    """The first command that would pay and doctor make the same checks."""
    before = scene.billed
    pairs = [(name, value) for name, values in SETTINGS.items() for value in values]
    for number, (name, value) in enumerate(pairs):
        environment = {name: value}
        command = scene.paying(number)[3 * (number % 2)]
        one_sentence(scene.shell.run(*command, env=environment))
        doctor = scene.shell.run("doctor", "--json", env=environment)
        # The gateways themselves are out of reach here.
        [check] = [
            check
            for check in doctor.json["checks"]
            if check["state"] == "bad" and not check["part"].startswith("gateway")
        ]
        assert (doctor.code, name in check["said"] + check["mend"] or name == "SONGFLOW_LIBRARY") == (
            1,
            True,
        ), (name, value, check)
        assert "sk-" not in doctor.out
    assert scene.billed == before
    assert not list(scene.shell.folder.glob("**/memory*"))


def test_this_machine_is_reached_past_a_proxy(scene: Scene) -> None:
    """Gateways, songs, covers and doctor alike, whatever the variables' spelling; nothing is asked of the proxy."""
    with listening(lambda _: http(403)) as (proxy, asked):
        before = scene.billed
        for number, variables in (
            (0, ("HTTP_PROXY",)),
            # 1 pays nothing; the demo, which does the same, is run with a proxy in test_other_commands.py.
            (2, ("ALL_PROXY",)),
            (3, ("HTTP_PROXY", "all_proxy")),
            (4, ("http_proxy",)),
        ):
            environment = dict.fromkeys(variables, proxy) | {"NO_PROXY": ("", "elsewhere.test")[number % 2]}
            command = scene.paying(number + 50)[number]
            run = scene.shell.run(*command, env=environment)
            assert run.code == 0, (command, run.err)
        doctor = scene.shell.run("doctor", "--json", env=environment)
        assert checked(doctor, "network")["state"] == "ok"
        assert "HTTP_PROXY" in checked(doctor, "network")["said"]
    assert scene.billed == before + 5
    assert {path for path in asked if "127.0.0.1" in path} == set()


def checked(run: Any, part: str) -> dict[str, Any]:
    """What doctor found out about a part."""
    [check] = [check for check in run.json["checks"] if check["part"] == part]
    assert isinstance(check, dict)
    return check
