"""Gateway credentials as Prefect blocks."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, SecretStr

from blocks._base import GatewayCredentials
from songflow.accounts import EMBEDDED_URL
from songflow.gateways import DIALECTS, Dialect, Shape, custom_dialect
from songflow.gateways.dialects import why_unknown
from songflow.gateways.relay_udio import FETCH_PATH, SHAPE, SUBMIT_PATH

__all__ = [
    "AceStepCredentials",
    "AcedataCredentials",
    "CometAPICredentials",
    "CustomGatewayCredentials",
    "GatewayBlock",
    "InstalledGatewayCredentials",
    "KieCredentials",
    "OpenAIHKCredentials",
    "PiapiCredentials",
    "PublishedBlock",
    "SimulatorCredentials",
    "SunoapiCredentials",
]

_SIMULATOR = DIALECTS["simulator"]


def _address_field(gateway: str) -> Any:
    return Field(
        default=DIALECTS[gateway].base_url or "",
        title="Base URL",
        description="The gateway's address, without a path.",
    )


class _PublishedGateway(GatewayCredentials):
    """An account at a gateway that Songflow knows by name."""

    gateway: ClassVar[str]

    def _dialect(self) -> Dialect:
        return DIALECTS[self.gateway]

    def _address(self) -> str:
        return self.base_url or ""


class CometAPICredentials(_PublishedGateway):
    """An account at CometAPI: https://www.cometapi.com.

    Example:
        Load stored CometAPI credentials:
        ```python
        from blocks.credentials import CometAPICredentials

        credentials = CometAPICredentials.load("BLOCK_NAME")
        ```
    """

    gateway: ClassVar[str] = "cometapi"
    _block_type_name: ClassVar[str | None] = "CometAPI Song Credentials"
    _block_type_slug: ClassVar[str | None] = "cometapi-credentials"
    _description: ClassVar[str | None] = (
        "An account at CometAPI, which sells Udio and Suno songs per request."
    )

    api_key: SecretStr = Field(title="API key", description="The account's key, sent as a bearer token.")
    base_url: str = _address_field("cometapi")


class OpenAIHKCredentials(_PublishedGateway):
    """An account at OpenAI-HK: https://www.openai-hk.com.

    Example:
        Load stored OpenAI-HK credentials:
        ```python
        from blocks.credentials import OpenAIHKCredentials

        credentials = OpenAIHKCredentials.load("BLOCK_NAME")
        ```
    """

    gateway: ClassVar[str] = "openai-hk"
    _block_type_name: ClassVar[str | None] = "OpenAI-HK Song Credentials"
    _block_type_slug: ClassVar[str | None] = "openai-hk-credentials"
    _description: ClassVar[str | None] = (
        "An account at OpenAI-HK, which sells Udio and Suno songs per request."
    )

    api_key: SecretStr = Field(title="API key", description="The account's key (hk-...), sent unchanged.")
    base_url: str = _address_field("openai-hk")


class KieCredentials(_PublishedGateway):
    """An account at Kie.ai: https://kie.ai.

    Example:
        Load stored Kie.ai credentials:
        ```python
        from blocks.credentials import KieCredentials

        credentials = KieCredentials.load("BLOCK_NAME")
        ```
    """

    gateway: ClassVar[str] = "kie"
    _block_type_name: ClassVar[str | None] = "Kie.ai Song Credentials"
    _block_type_slug: ClassVar[str | None] = "kie-credentials"
    _description: ClassVar[str | None] = "An account at Kie.ai, which sells Suno songs per request."

    api_key: SecretStr = Field(title="API key", description="The account's key, sent as a bearer token.")
    base_url: str = _address_field("kie")


class SunoapiCredentials(_PublishedGateway):
    """An account at sunoapi.org: https://sunoapi.org.

    Example:
        Load stored sunoapi.org credentials:
        ```python
        from blocks.credentials import SunoapiCredentials

        credentials = SunoapiCredentials.load("BLOCK_NAME")
        ```
    """

    gateway: ClassVar[str] = "sunoapi"
    _block_type_name: ClassVar[str | None] = "sunoapi.org Song Credentials"
    _block_type_slug: ClassVar[str | None] = "sunoapi-credentials"
    _description: ClassVar[str | None] = "An account at sunoapi.org, which sells Suno songs per request."

    api_key: SecretStr = Field(title="API key", description="The account's key, sent as a bearer token.")
    base_url: str = _address_field("sunoapi")


class PiapiCredentials(_PublishedGateway):
    """An account at PiAPI: https://piapi.ai.

    Example:
        Load stored PiAPI credentials:
        ```python
        from blocks.credentials import PiapiCredentials

        credentials = PiapiCredentials.load("BLOCK_NAME")
        ```
    """

    gateway: ClassVar[str] = "piapi"
    _block_type_name: ClassVar[str | None] = "PiAPI Song Credentials"
    _block_type_slug: ClassVar[str | None] = "piapi-credentials"
    _description: ClassVar[str | None] = "An account at PiAPI, which sells Udio songs per request."

    api_key: SecretStr = Field(title="API key", description="The account's key, sent as X-API-Key.")
    base_url: str = _address_field("piapi")


class AceStepCredentials(_PublishedGateway):
    """A server of ACE-Step 1.5, on a machine of one's own: https://github.com/ace-step/ACE-Step-1.5.

    Example:
        Load stored credentials of an ACE-Step server:
        ```python
        from blocks.credentials import AceStepCredentials

        credentials = AceStepCredentials.load("BLOCK_NAME")
        ```
    """

    gateway: ClassVar[str] = "ace-step"
    _block_type_name: ClassVar[str | None] = "ACE-Step Song Credentials"
    _block_type_slug: ClassVar[str | None] = "ace-step-credentials"
    _description: ClassVar[str | None] = (
        "A server of ACE-Step on a machine of your own, which makes songs at no price."
    )

    api_key: SecretStr | None = Field(
        default=None,
        title="API key",
        description="The server's key, if it was started with one; sent as a bearer token.",
    )
    base_url: str = _address_field("ace-step")


class AcedataCredentials(_PublishedGateway):
    """An account at Ace Data Cloud: https://acedata.cloud.

    Example:
        Load stored Ace Data Cloud credentials:
        ```python
        from blocks.credentials import AcedataCredentials

        credentials = AcedataCredentials.load("BLOCK_NAME")
        ```
    """

    gateway: ClassVar[str] = "acedata"
    _block_type_name: ClassVar[str | None] = "Ace Data Cloud Song Credentials"
    _block_type_slug: ClassVar[str | None] = "acedata-credentials"
    _description: ClassVar[str | None] = "An account at Ace Data Cloud, which sells Suno songs per request."

    api_key: SecretStr = Field(title="API key", description="The account's token, sent as a bearer token.")
    base_url: str = _address_field("acedata")


class SimulatorCredentials(GatewayCredentials):
    """The song simulator: no key, no cost, synthesised songs.

    Example:
        Load stored simulator settings:
        ```python
        from blocks.credentials import SimulatorCredentials

        credentials = SimulatorCredentials.load("BLOCK_NAME")
        ```
    """

    _block_type_name: ClassVar[str | None] = "Song Simulator Credentials"
    _block_type_slug: ClassVar[str | None] = "song-simulator-credentials"
    _description: ClassVar[str | None] = "A simulated song gateway, to try everything without paying."

    base_url: str | None = Field(
        default=None,
        title="Base URL",
        description="A simulator started with `songflow simulate`; empty for one inside the flow's process.",
    )
    api_key: SecretStr | None = Field(
        default=None,
        title="API key",
        description="The key, if the simulator was started with one.",
    )

    def _dialect(self) -> Dialect:
        return _SIMULATOR

    def _address(self) -> str:
        return self.base_url or EMBEDDED_URL


class InstalledGatewayCredentials(GatewayCredentials):
    """An account at any gateway that is known by name, for those that have no block of their own.

    Example:
        Load stored credentials of an installed gateway:
        ```python
        from blocks.credentials import InstalledGatewayCredentials

        credentials = InstalledGatewayCredentials.load("BLOCK_NAME")
        ```
    """

    _block_type_name: ClassVar[str | None] = "Installed Song Gateway Credentials"
    _block_type_slug: ClassVar[str | None] = "installed-song-gateway-credentials"
    _description: ClassVar[str | None] = "An account at a gateway that another package adds to Songflow."

    # Required: a form could not tell a block whose fields are all optional from a reference to a saved one.
    gateway: str = Field(title="Gateway", description="The gateway's name, as for the command line.")
    api_key: SecretStr | None = Field(
        default=None,
        title="API key",
        description="The account's key, if the gateway requires one.",
    )
    base_url: str | None = Field(
        default=None,
        title="Base URL",
        description="The gateway's address, without a path; empty for its published one.",
    )

    def _dialect(self) -> Dialect:
        if self.gateway not in DIALECTS:
            raise ValueError(why_unknown(self.gateway))
        return DIALECTS[self.gateway]

    def _address(self) -> str:
        return self.base_url or ""


class CustomGatewayCredentials(GatewayCredentials):
    """Any other gateway that accepts the same request: its address, two paths and the shape of its responses.

    Example:
        Load stored credentials of a custom gateway:
        ```python
        from blocks.credentials import CustomGatewayCredentials

        credentials = CustomGatewayCredentials.load("BLOCK_NAME")
        ```
    """

    _block_type_name: ClassVar[str | None] = "Custom Song Gateway Credentials"
    _block_type_slug: ClassVar[str | None] = "custom-song-gateway-credentials"
    _description: ClassVar[str | None] = "An account at a Udio gateway that Songflow does not know by name."

    base_url: str = Field(title="Base URL", description="The gateway's address, without a path.")
    submit_path: str = Field(
        default=SUBMIT_PATH,
        title="Submit path",
        description="Path that requests are posted to.",
    )
    fetch_path: str = Field(
        default=FETCH_PATH,
        title="Fetch path",
        description="Path that reports a generation, with {id} for one id or {ids} for several.",
    )
    shape: Shape = Field(
        default=SHAPE,
        title="Shape",
        description="Place of the songs: A songs, B data.data.songs, C data.songs, D data.data[].songs.",
    )
    api_key: SecretStr | None = Field(
        default=None,
        title="API key",
        description="The account's key, if the gateway requires one.",
    )

    def _dialect(self) -> Dialect:
        return custom_dialect(self.base_url, self.submit_path, self.fetch_path, self.shape)

    def _address(self) -> str:
        return self.base_url


PublishedBlock = (
    CometAPICredentials
    | OpenAIHKCredentials
    | KieCredentials
    | SunoapiCredentials
    | PiapiCredentials
    | AcedataCredentials
    | AceStepCredentials
)
"""A credentials block of a gateway that is known by name; all but those of servers of one's own need a key."""

GatewayBlock = PublishedBlock | SimulatorCredentials | InstalledGatewayCredentials | CustomGatewayCredentials
"""Any of the credentials blocks, as a flow's parameter."""
