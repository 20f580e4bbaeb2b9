"""Adapters to the paid music gateways: submit once with a known outcome, fetch as often as needed.

Never pay twice: a POST's outcome is classified by one table, never guessed, and no POST is ever repeated here.
"""

from songflow.gateways.account import Account
from songflow.gateways.account_credit import read_credit
from songflow.gateways.answer import Answer
from songflow.gateways.batch import BatchProblem, Wanted
from songflow.gateways.client import Gateway
from songflow.gateways.credit import Credit
from songflow.gateways.custom import custom_dialect
from songflow.gateways.dialect import Dialect, check_base_url
from songflow.gateways.dialects import (
    DIALECTS,
    Place,
    bills_nothing,
    key_variables,
    place_of,
    place_urls,
    sellers,
)
from songflow.gateways.fetch import FetchProblem, FetchProblemKind, classify_fetch
from songflow.gateways.relay import Ids, candidate_ids, id_or_none
from songflow.gateways.relay_suno import relay_suno
from songflow.gateways.relay_udio import SHAPES, Shape, relay_udio
from songflow.gateways.report import Report, ReportContent, ReportStatus, TakeReport, read_word
from songflow.gateways.service import Act, Batch, Question, Service
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
    "Act",
    "Answer",
    "Batch",
    "BatchProblem",
    "Credit",
    "Dialect",
    "FetchProblem",
    "FetchProblemKind",
    "Gateway",
    "Ids",
    "NotSent",
    "Outcome",
    "Place",
    "Question",
    "RefusalKind",
    "Refused",
    "Report",
    "ReportContent",
    "ReportStatus",
    "Service",
    "Shape",
    "TakeReport",
    "Unknown",
    "Wanted",
    "bills_nothing",
    "candidate_ids",
    "check_base_url",
    "classify_fetch",
    "classify_submit",
    "custom_dialect",
    "id_or_none",
    "key_variables",
    "place_of",
    "place_urls",
    "read_credit",
    "read_word",
    "relay_suno",
    "relay_udio",
    "sellers",
]
