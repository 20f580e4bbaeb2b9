"""Ask a gateway what an account has left."""

from __future__ import annotations

from songflow.gateways.account import Account
from songflow.gateways.credit import Credit
from songflow.gateways.envelope import parse_json
from songflow.gateways.network import open_client
from songflow.gateways.redaction import Redactor, keep_out_of_logs

__all__ = ["read_credit"]

_PATIENCE_SECONDS = 10.0


async def read_credit(account: Account) -> Credit | str | None:
    """What an account has left; a text that says why it cannot be read; None if its gateway does not tell it.

    It is free. No problem is raised, and no text holds the key, which stands in the address at some gateways.
    """
    query, secret = account.dialect.credit, account.secret
    if query is None or secret is None:
        return None
    keep_out_of_logs(secret)
    published = account.dialect.canonical_url(account.base_url) == account.dialect.base_url
    host = query.host if query.host is not None and published else account.base_url
    headers = {"Accept": "application/json"}
    if not any("{key}" in path for path in query.paths):
        headers |= account.dialect.authorization(secret)
    answers: list[object] = []
    try:
        async with open_client(timeout=_PATIENCE_SECONDS) as client:
            for target in query.targets(secret):
                answer = await client.get(host + target, headers=headers)
                if not answer.is_success:
                    return f"HTTP {answer.status_code}"
                answers.append(parse_json(answer.text))
    except Exception as error:
        # Whatever it is: what is left is only good to know.
        return Redactor(secret, everywhere=True)(f"{type(error).__name__}: {error}")
    return query.credit(answers) or "its answer does not say"
