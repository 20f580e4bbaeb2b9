"""Gateway credentials as Prefect blocks."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, SecretStr

from blocks._base import GatewayCredentials
from songflow.accounts import EMBEDDED_URL
from songflow.gateways import DIALECTS, Dialect, Shape, custom_dialect
from songflow.gateways.relay_udio import FETCH_PATH, SHAPE, SUBMIT_PATH

__all__ = [
    "CometAPICredentials",
    "CustomGatewayCredentials",
    "GatewayBlock",
    "KieCredentials",
    "OpenAIHKCredentials",
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


PublishedBlock = CometAPICredentials | OpenAIHKCredentials | KieCredentials | SunoapiCredentials
"""A credentials block of a gateway that is known by name; each needs a key."""

GatewayBlock = PublishedBlock | SimulatorCredentials | CustomGatewayCredentials
"""Any of the credentials blocks, as a flow's parameter."""
