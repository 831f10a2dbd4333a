"""A tap of Meltano's SDK (tap-rest-api-msdk) into target-duckdb, through a pipe."""

import json
import subprocess
import sys
from pathlib import Path

url, name, folder = sys.argv[1:]
place, programs = Path(folder), Path(sys.executable).parent
state, known = place / "state.json", place / "state.out"
if known.exists() and (lines := known.read_text().splitlines()):
    state.write_text(lines[-1])
tap = {
    "api_url": url,
    "pagination_request_style": "jsonpath_paginator",
    "pagination_response_style": "page",
    "next_page_token_path": "$.next_page",
    "streams": [
        {
            "name": name,
            "path": f"/{name}",
            "records_path": "$._embedded.entries[*]",
            "primary_keys": ["id"],
            "replication_key": "updated_at",
            "start_date": "2000-01-01T00:00:00Z",
            "source_search_field": "since",
            "source_search_query": "$last_run_date",
            "num_inference_records": 100,
        }
    ],
}
(place / "tap.json").write_text(json.dumps(tap))
(place / "target.json").write_text(json.dumps({"path": f"{folder}/out.duckdb", "default_target_schema": "main_"}))
arguments = [programs / "tap-rest-api-msdk", "--config", place / "tap.json", *(["--state", state] if state.exists() else [])]
with known.open("ab") as out, subprocess.Popen(arguments, stdout=subprocess.PIPE) as source:
    target = subprocess.run([programs / "target-duckdb", "--config", place / "target.json"], stdin=source.stdout, stdout=out, check=False)
sys.exit(source.returncode or target.returncode)
