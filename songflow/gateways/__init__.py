"""Adapters to the paid music gateways: submit once and know what became of it, fetch as often as needed.

Never pay twice: a POST's outcome is classified by one table, never guessed, and no POST is ever sent again.
"""

from songflow.gateways.account import Account
from songflow.gateways.answer import Answer
from songflow.gateways.client import Gateway
from songflow.gateways.custom import custom_dialect
from songflow.gateways.dialect import SHAPES, Dialect, Shape, check_base_url
from songflow.gateways.dialects import DIALECTS, Place, place_of
from songflow.gateways.fetch import FetchProblem, FetchProblemKind, classify_fetch
from songflow.gateways.report import Report, ReportStatus, TakeReport
from songflow.gateways.submit import (
    Accepted,
    NotSent,
    Outcome,
    RefusalKind,
    Refused,
    Unknown,
    classify_submit,
)

__all__ = [
    "DIALECTS",
    "SHAPES",
    "Accepted",
    "Account",
    "Answer",
    "Dialect",
    "FetchProblem",
    "FetchProblemKind",
    "Gateway",
    "NotSent",
    "Outcome",
    "Place",
    "RefusalKind",
    "Refused",
    "Report",
    "ReportStatus",
    "Shape",
    "TakeReport",
    "Unknown",
    "check_base_url",
    "classify_fetch",
    "classify_submit",
    "custom_dialect",
    "place_of",
]
