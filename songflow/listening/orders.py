"""What somebody orders in the room from a song: more of it, more songs like it, or the same with other parameters.

An order is priced first, and confirmed with that price. Nothing here sends anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, Field

from songflow.accounts import Access, place_text, reason_not_to_ask
from songflow.errors import InputError, MissingCredentials
from songflow.families.family import Request
from songflow.families.field_types import FieldKind
from songflow.families.registry import (
    extension_only,
    family_of_model,
    field_kinds,
    fields_of_kind,
    parse_request,
    source_fields,
    start_fields,
)
from songflow.generation.expected import expected_seconds
from songflow.generation.extensions import plan_extension
from songflow.generation.session import Session
from songflow.ledger.rows import Song

__all__ = ["Kind", "Order", "Planned", "form_of", "plan_order"]


class Kind(StrEnum):
    """What is ordered: an extension, the same request again with another random seed, or one with other parameters."""

    EXTEND = "extend"
    MORE = "more"
    AGAIN = "again"


class Order(BaseModel):
    """An order from a song, by the number of its row. `place` is that of an extension, such as "intro"."""

    song: int
    kind: Kind
    place: str | None = Field(default=None, max_length=40)
    fields: dict[str, str | int | float | bool | None] = Field(default={}, max_length=40)


@dataclass(frozen=True, slots=True)
class Planned:
    """An order as it would be sent: the request, the account that pays, and the price in the library's units."""

    request: Request
    access: Access
    price: float
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """The plan as plain data for a page, without anything secret."""
        return {
            "price": self.price,
            "seconds": self.seconds,
            "place": self.access.place_text,
            "account": self.access.account.alias,
            "model": self.request.model_type,
            "bills": not self.access.is_simulated,
        }


async def plan_order(session: Session, order: Order) -> Planned:
    """Plan an order at the gateway and account that made its song. Nothing is sent.

    Raises:
        InputError, InvalidRequest: the song or the parameters do not allow it, each with its reason.
        MissingCredentials: the key of the song's account is not available.
    """
    song = await _song(session, order.song)
    if order.kind is Kind.EXTEND:
        request, access = await _extension(session, song, order)
    else:
        access = await _account_of(session, song)
        request = _like(await _request_of(session, song), order)
    if (reason := reason_not_to_ask(access, request)) is not None:
        raise reason
    seconds = await expected_seconds(
        session.library.ledger.key_summaries, access, request.model_type, request.mode.value
    )
    return Planned(request, access, access.price_of(request), seconds)


async def form_of(session: Session, row_id: int) -> dict[str, Any]:
    """The fields that a form offers for a song, with the song's own values, and where it can be extended."""
    song = await _song(session, row_id)
    request = await _request_of(session, song)
    kinds = field_kinds()
    # A place says where an extension begins, and lyrics of one's own say their type.
    left_out = {"mode", "lyrics_type", *source_fields(), *extension_only(), *start_fields()}
    fields = request.model_dump(mode="json")
    return {
        "fields": [
            {"name": name, "kind": kinds.get(name, FieldKind.TEXT).value, "value": value}
            for name, value in fields.items()
            if name not in left_out and (value is None or isinstance(value, str | int | float | bool))
        ],
        "models": list(family_of_model(request.model_type).models),
        "places": list(family_of_model(request.model_type).places),
        "can_extend": song.song_id is not None,
    }


async def _song(session: Session, row_id: int) -> Song:
    song = await session.library.ledger.songs.find(row_id)
    if song is None:
        raise InputError("There is no such song.", next="reload the page; nothing was sent.")
    return song


async def _request_of(session: Session, song: Song) -> Request:
    generation = await session.library.ledger.submissions.generation(song.key)
    assert generation is not None, "a song has a generation (foreign key)"
    return generation.request


async def _account_of(session: Session, song: Song) -> Access:
    taken = await session.library.ledger.submissions.get(song.submission_id)
    try:
        return await session.gateways.access_for(taken, None)
    except MissingCredentials:
        raise MissingCredentials(
            f"The song was made at {place_text(taken.gateway, taken.base_url)}, and there is no key for its account "
            f"{taken.account!r}.",
            next="start the room with that account's key in its environment; nothing was sent.",
        ) from None


async def _extension(session: Session, song: Song, order: Order) -> tuple[Request, Access]:
    if song.song_id is None:
        raise InputError("The gateway gave this song no id.", next="extend another one; nothing was sent.")
    planned = await plan_extension(session, song.song_id, place=order.place, overrides=order.fields)
    return planned.request, planned.access


def _like(request: Request, order: Order) -> Request:
    """The request of a song with other fields; for more like it, with a random seed where the family has one."""
    fields = request.fields_with(order.fields)
    if order.kind is Kind.MORE:
        seeds = fields_of_kind(FieldKind.SEED)
        fields = {name: value for name, value in fields.items() if name not in seeds}
    return parse_request(fields)
