"""dlt's own REST source into DuckDB or PostgreSQL: as it comes, or (`tuned`) by the best of its documented settings that was found.

Tuned: nested values stay JSON in one table, files are Parquet, normalising has two processes, buffers are large.
"""

import os
import sys
from urllib.parse import parse_qs, quote, urlsplit

url, names, folder, way, *database = sys.argv[1:]
if way == "tuned":
    os.environ |= {
        "NORMALIZE__WORKERS": "2", "NORMALIZE__START_METHOD": "spawn", "NORMALIZE__DATA_WRITER__BUFFER_MAX_ITEMS": "50000",
        "EXTRACT__DATA_WRITER__BUFFER_MAX_ITEMS": "50000", "EXTRACT__DATA_WRITER__FILE_MAX_ITEMS": "50000",
    }  # fmt: skip
os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"

import dlt  # noqa: E402  # it reads the environment when it is imported
from dlt.sources.rest_api import rest_api_source  # noqa: E402


def known(address):
    """A server on a socket as dlt wants to have it told: with a password, too, though none is asked for."""
    url = urlsplit(address)
    return {"host": quote(parse_qs(url.query)["host"][0], ""), "database": url.path[1:], "username": url.username, "password": "none"}


if __name__ == "__main__":
    resources = [
        {
            "name": name,
            "primary_key": "id",
            "write_disposition": "merge",
            "endpoint": {
                "path": name,
                "data_selector": "_embedded.entries",
                "params": {"since": {"type": "incremental", "cursor_path": "updated_at", "initial_value": ""}},
            },
        }
        for name in names.split(",")
    ]
    paginator = {"type": "json_link", "next_url_path": "_links.next.href"}
    source = rest_api_source({"client": {"base_url": url, "paginator": paginator}, "resources": resources})
    if way == "tuned":
        source.max_table_nesting = 0
    place = dlt.destinations.postgres(known(database[0])) if database else dlt.destinations.duckdb(f"{folder}/out.duckdb")
    pipeline = dlt.pipeline("bench", f"{folder}/state", destination=place, dataset_name="bench")
    pipeline.run(source, **({"loader_file_format": "parquet"} if way == "tuned" else {}))
