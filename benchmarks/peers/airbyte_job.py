"""airbyte-cdk declarative (YAML manifest) source; AirbyteMessages as JSON lines on stdout.  usage: airbyte_job.py N [raw|keep|full] [URL]

raw = fetch only; keep = + AddFields, source fields kept; full = + AddFields and RemoveFields of the 45 source keys.
"""

import json
import os
import shutil
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from airbyte_fields import V
from records import record

N = int(sys.argv[1])
MODE = sys.argv[2] if len(sys.argv) > 2 else "raw"
URL = sys.argv[3] if len(sys.argv) > 3 else "http://127.0.0.1:21200"
SRC = list(record(0))
stream = {
    "type": "DeclarativeStream",
    "name": "job",
    "primary_key": ["external_id"],
    "retriever": {
        "type": "SimpleRetriever",
        "requester": {
            "type": "HttpRequester",
            "url_base": URL,
            "path": "/services/data/v66.0/query",
            "http_method": "GET",
            "request_parameters": {"q": f"SELECT x FROM y LIMIT {N}"},
        },
        "record_selector": {
            "type": "RecordSelector",
            "extractor": {"type": "DpathExtractor", "field_path": ["records"]},
        },
        "paginator": {
            "type": "DefaultPaginator",
            "page_token_option": {"type": "RequestPath"},
            "pagination_strategy": {
                "type": "CursorPagination",
                "cursor_value": "{{ '" + URL + "' ~ response['nextRecordsUrl'] }}",
                "stop_condition": "{{ response['done'] }}",
            },
        },
    },
    "transformations": []
    if MODE == "raw"
    else [
        {
            "type": "AddFields",
            "fields": [{"type": "AddedFieldDefinition", "path": [k], "value": v} for k, v in V.items()],
        },
        *([] if MODE == "keep" else [{"type": "RemoveFields", "field_pointers": [[k] for k in SRC]}]),
    ],
    "schema_loader": {
        "type": "InlineSchemaLoader",
        "schema": {"type": "object", "additionalProperties": True, "properties": {}},
    },
}
man = {
    "version": "6.0.0",
    "type": "DeclarativeSource",
    "check": {"type": "CheckStream", "stream_names": ["job"]},
    "streams": [stream],
    "spec": {"type": "Spec", "connection_specification": {"type": "object", "properties": {}}},
}
d = tempfile.mkdtemp()
with open(d + "/c.json", "w") as f:
    json.dump({"__injected_declarative_manifest": man}, f)
with open(d + "/cat.json", "w") as f:
    json.dump(
        {
            "streams": [
                {
                    "stream": {
                        "name": "job",
                        "json_schema": {"type": "object", "properties": {}},
                        "supported_sync_modes": ["full_refresh"],
                    },
                    "sync_mode": "full_refresh",
                    "destination_sync_mode": "append",
                }
            ]
        },
        f,
    )
from airbyte_cdk.cli.source_declarative_manifest import run

sys.argv = ["source-declarative-manifest", "read", "--config", d + "/c.json", "--catalog", d + "/cat.json"]
try:
    run()
finally:
    shutil.rmtree(d, ignore_errors=True)
