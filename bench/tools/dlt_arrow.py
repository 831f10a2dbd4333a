"""dlt with a resource of one's own that yields Arrow tables, so that no record goes through dlt's normaliser."""

import os
import sys

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"

import dlt
import orjson
import pyarrow
import requests

url, name, folder = sys.argv[1:]


@dlt.resource(name=name, primary_key="id", write_disposition="merge")
def records(updated=dlt.sources.incremental("updated_at", initial_value="")):  # noqa: B008  # dlt wants it there
    session, path = requests.Session(), f"/{name}?since={updated.last_value}" if updated.last_value else f"/{name}"
    pages = []
    while path:
        page = orjson.loads(session.get(url + path).content)
        pages += [
            record | {word: orjson.dumps(record[word]).decode() for word in ("labels", "custom_fields", "_links") if word in record}
            for record in page["_embedded"]["entries"]
        ]
        path = (page["_links"]["next"] or {}).get("href")
        if pages and (len(pages) >= 10_000 or not path):
            yield pyarrow.Table.from_pylist(pages)
            pages = []


dlt.pipeline("bench", f"{folder}/state", destination=dlt.destinations.duckdb(f"{folder}/out.duckdb"), dataset_name="bench").run(records())
