"""What a competent analyst would write: no state, no checks, no crash safety. The bar that syncer is measured against."""

import sys

import duckdb
import orjson
import requests

url, names, folder = sys.argv[1:]
con, session = duckdb.connect(f"{folder}/out.duckdb"), requests.Session()
for name in names.split(","):
    known = con.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = ?", [name]).fetchone()[0]
    since = con.execute(f"SELECT max(updated_at) FROM {name}").fetchone()[0] if known else None
    path = f"/{name}?since={since:%Y-%m-%dT%H:%M:%SZ}" if since else f"/{name}"
    with open(f"{folder}/new.ndjson", "wb") as lines:  # noqa: PTH123  # as one writes it
        while path:
            page = orjson.loads(session.get(url + path).content)
            lines.writelines(orjson.dumps(record) + b"\n" for record in page["_embedded"]["entries"])
            path = (page["_links"]["next"] or {}).get("href")
    new = f"read_json('{folder}/new.ndjson', format = 'newline_delimited', maximum_object_size = 16777216)"
    if not known:
        con.execute(f"CREATE TABLE {name} AS FROM {new}")
    elif con.execute(f"SELECT count(*) FROM read_text('{folder}/new.ndjson') WHERE size > 0").fetchone()[0]:
        con.execute(f"MERGE INTO {name} USING {new} AS new USING (id) WHEN MATCHED THEN UPDATE WHEN NOT MATCHED THEN INSERT")
