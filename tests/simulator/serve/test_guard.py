"""Who may ask."""

from __future__ import annotations

import pytest

from pkb.errors import SettingError
from simulator.serve.asgi import make_app
from simulator.serve.guard import VARIABLE, token_of_environment
from simulator.serve.versions import Versions
from tests.simulator.serve.asgi_client import Client
from tests.simulator.serve.asking import TOKEN, Row, valid


def test_where_a_token_is_set_whoever_has_it_may_ask(versions: Versions, raw: list[Row]) -> None:
    body = valid(raw)
    with Client(make_app(versions, TOKEN)) as client:
        assert client.score(body, authorization=f"Bearer {TOKEN}").status == 200
        wrong = ("", "Bearer", f"Bearer {TOKEN}x", f"bearer {TOKEN}", TOKEN, f"Bearer {TOKEN[:-1]}é", "Bearer \xff")
        for header in wrong:
            answer = client.score(body, authorization=header)
            assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer"), header
        assert [client.get(path).status for path in ("/metrics", "/docs", "/v1/versions")] == [401, 401, 401]
        assert client.get("/healthz").status == 200


@pytest.mark.parametrize(
    ("host", "token", "said"),
    [
        ("127.0.0.1", None, None),
        ("::1", None, None),
        ("localhost", None, None),
        ("0.0.0.0", TOKEN, None),
        ("0.0.0.0", None, r"^host=0\.0\.0\.0: others could ask there, and no token is set; set \$SIMULATOR_TOKEN"),
        ("::", None, "others could ask there"),
        ("example.org", None, "others could ask there"),
        ("127.0.0.1", "short", r"^\$SIMULATOR_TOKEN: must be 16 or more"),
        ("127.0.0.1", f"{TOKEN} x", r"must be 16 or more"),
    ],
)
def test_what_others_could_ask_wants_a_token(
    monkeypatch: pytest.MonkeyPatch, host: str, token: str | None, said: str | None
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if token is not None:
        monkeypatch.setenv(VARIABLE, token)
    if said is None:
        assert token_of_environment(host) == token
    else:
        with pytest.raises(SettingError, match=said):
            token_of_environment(host)
