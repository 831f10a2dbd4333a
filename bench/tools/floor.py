"""The least that it can take: a raw socket, whole pages through DuckDB into a typed table, nothing else."""

import socket
import sys
from urllib.parse import urlsplit

import duckdb

url, name, folder = sys.argv[1:]
host = urlsplit(url)
con = socket.create_connection((host.hostname, host.port))
stream, number = con.makefile("rb"), 1
with open(f"{folder}/pages.ndjson", "wb") as out:  # noqa: PTH123  # as one writes it
    while True:
        con.sendall(f"GET /{name}?page={number} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        length = 0
        while (line := stream.readline()) != b"\r\n":
            if line.lower().startswith(b"content-length:"):
                length = int(line[15:])
        page = stream.read(length)
        out.write(page + b"\n")
        number += 1
        if b'"next":null' in page[:200]:
            break
types = {
    "id": "BIGINT", "external_id": "VARCHAR", "subject": "VARCHAR", "blurb": "VARCHAR", "description": "VARCHAR", "priority": "BIGINT",
    "status": "VARCHAR", "type": "VARCHAR", "language": "VARCHAR", "labels": "VARCHAR[]", "is_private": "BOOLEAN", "score": "DOUBLE",
    "amount": "DECIMAL(12,2)", "custom_fields": "JSON", "created_at": "TIMESTAMPTZ", "updated_at": "TIMESTAMPTZ",
    "resolved_at": "TIMESTAMPTZ", "customer_id": "BIGINT", "_links": "JSON",
}  # fmt: skip
struct = ", ".join(f'"{column}" {kind}' for column, kind in types.items())
duckdb.connect(f"{folder}/out.duckdb").execute(
    f"CREATE TABLE {name} AS SELECT unnest(_embedded.entries, recursive := false) AS r FROM read_json('{folder}/pages.ndjson', "
    f"columns = {{'_embedded': 'STRUCT(entries STRUCT({struct})[])'}}, format = 'newline_delimited', maximum_object_size = 33554432)"
).execute(f"CREATE OR REPLACE TABLE {name} AS SELECT r.* FROM {name}")
