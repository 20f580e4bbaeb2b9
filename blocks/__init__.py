"""Prefect blocks: credentials of the gateways, and the song library.

Prefect loads this package by its entry point, so that the blocks are known wherever Songflow is installed.
"""

from blocks.credentials import (
    CometAPICredentials,
    CustomGatewayCredentials,
    KieCredentials,
    OpenAIHKCredentials,
    SimulatorCredentials,
    SunoapiCredentials,
)
from blocks.library import SongLibrary

__all__ = [
    "CometAPICredentials",
    "CustomGatewayCredentials",
    "KieCredentials",
    "OpenAIHKCredentials",
    "SimulatorCredentials",
    "SongLibrary",
    "SunoapiCredentials",
]
