"""The manifest of a declarative Airbyte connector for one collection."""


def manifest(url: str, name: str) -> dict:
    return {
        "version": "6.0.0",
        "type": "DeclarativeSource",
        "spec": {"type": "Spec", "connection_specification": {"type": "object", "properties": {}, "additionalProperties": True}},
        "check": {"type": "CheckStream", "stream_names": [name]},
        "streams": [
            {
                "type": "DeclarativeStream",
                "name": name,
                "primary_key": ["id"],
                "retriever": {
                    "type": "SimpleRetriever",
                    "requester": {"type": "HttpRequester", "url_base": url, "path": f"/{name}", "http_method": "GET"},
                    "record_selector": {
                        "type": "RecordSelector",
                        "extractor": {"type": "DpathExtractor", "field_path": ["_embedded", "entries"]},
                    },
                    "paginator": {
                        "type": "DefaultPaginator",
                        "page_token_option": {"type": "RequestPath"},
                        "pagination_strategy": {
                            "type": "CursorPagination",
                            "cursor_value": f"{url}{{{{ response['_links']['next']['href'] }}}}",
                            "stop_condition": "{{ not response['_links']['next'] }}",
                        },
                    },
                },
                "incremental_sync": {
                    "type": "DatetimeBasedCursor",
                    "cursor_field": "updated_at",
                    "datetime_format": "%Y-%m-%dT%H:%M:%SZ",
                    "start_datetime": "2000-01-01T00:00:00Z",
                    "start_time_option": {"type": "RequestOption", "inject_into": "request_parameter", "field_name": "since"},
                },
                "schema_loader": {
                    "type": "InlineSchemaLoader",
                    "schema": {
                        "type": "object",
                        "$schema": "http://json-schema.org/draft-07/schema#",
                        "properties": {"id": {"type": "integer"}, "updated_at": {"type": "string"}},
                        "additionalProperties": True,
                    },
                },
            }
        ],
    }
