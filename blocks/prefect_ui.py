"""Addresses in Prefect's own UI: where a browser finds it, and the picture of our block types."""

from __future__ import annotations

from typing import cast

from prefect.settings import get_current_settings
from pydantic import HttpUrl, TypeAdapter

__all__ = ["LOGO", "ui_address"]

# Both of Prefect's UIs serve it under this path.
_ICON = "ico/android-chrome-192x192.png"

_URL = TypeAdapter(HttpUrl)


def ui_address() -> str:
    """The address of Prefect's UI without a slash at its end: PREFECT_UI_URL, else that of the API without `/api`."""
    settings = get_current_settings()
    # The server itself usually has no PREFECT_API_URL, and knows the address that it gives to browsers.
    address = settings.ui_url or str(settings.server.ui.api_url).removesuffix("/api")
    return address.rstrip("/")


class _PrefectsIcon:
    """Prefect's icon on the server in use, as a class attribute that is computed whenever it is read.

    Prefect's client takes only http(s) addresses here, and cannot load a block whose type has a data URI or a relative
    address. In a closed network a browser reaches one server for certain: Prefect's.
    """

    def __get__(self, _block: object, _type: type) -> HttpUrl:
        return _URL.validate_python(f"{ui_address()}/{_ICON}")


LOGO = cast("HttpUrl", _PrefectsIcon())
"""The `_logo_url` of our block types."""
