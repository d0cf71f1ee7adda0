"""What a server tells of itself."""

from __future__ import annotations

from simulator.serve.asgi import make_app
from simulator.serve.watched import STAGES
from tests.simulator.serve.asgi_client import Client
from tests.simulator.serve.asking import Row, valid, with_candidate
from tests.simulator.serve.played_run import PlayedRun


def test_health_metrics_and_documentation(client: Client, three_days: PlayedRun, raw: list[Row]) -> None:
    with Client(make_app(three_days.versions())) as empty:
        assert empty.get("/healthz").status == 503
        assert empty.score(valid(raw)).status == 503
        assert b"model_version -1.0" in empty.get("/metrics").body
    assert client.get("/healthz").json == {"status": "ready", "model": "deepfm-0", "version": 1, "period": 1}
    assert client.score(valid(raw)).status == 200
    assert client.score(with_candidate(valid(raw), price="x")).status == 422
    text = client.get("/metrics").body.decode()
    for stage in STAGES:
        assert f'score_stage_seconds_count{{stage="{stage}"}} 1.0' in text
    assert 'score_errors_total{kind="422"} 1.0' in text
    assert "score_requests_total 1.0" in text
    assert "model_version 1.0" in text
    assert "model_behind_periods 1.0" in text, "the run has gone on to period 2"
    assert "process_resident_memory_bytes" in text
    assert client.get("/docs").status == 200
    told = client.get("/openapi.json").json["paths"]["/v1/score"]["post"]
    fields = told["requestBody"]["content"]["application/json"]["schema"]["properties"]["candidates"]["items"]
    assert list(fields["properties"]) == [
        *("user", "country", "item", "kind", "member", "tags", "price", "text", "seen", "time")
    ]
    assert "200" in told["responses"]
