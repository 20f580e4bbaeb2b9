"""Prefect blocks: credentials of the gateways, and the song library.

Prefect loads this package by its entry point, so that the blocks are known wherever Songflow is installed.
"""

from blocks.credentials import (
    AcedataCredentials,
    AceStepCredentials,
    CometAPICredentials,
    CustomGatewayCredentials,
    InstalledGatewayCredentials,
    KieCredentials,
    OpenAIHKCredentials,
    PiapiCredentials,
    SimulatorCredentials,
    SunoapiCredentials,
)
from blocks.library import SongLibrary

__all__ = [
    "AceStepCredentials",
    "AcedataCredentials",
    "CometAPICredentials",
    "CustomGatewayCredentials",
    "InstalledGatewayCredentials",
    "KieCredentials",
    "OpenAIHKCredentials",
    "PiapiCredentials",
    "SimulatorCredentials",
    "SongLibrary",
    "SunoapiCredentials",
]
