"""singer-sdk RESTStream tap -> singer messages on stdout, the hand mapping in post_process.  usage: singer_tap.py N [URL]"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
N = int(sys.argv[1])
URL = sys.argv[2] if len(sys.argv) > 2 else "http://127.0.0.1:21200"
from hand import COLUMNS as COLS
from hand import dicts
from singer_sdk import Tap
from singer_sdk import typing as th
from singer_sdk.pagination import BaseAPIPaginator
from singer_sdk.streams import RESTStream

S = th.StringType


def kind(column):
    if column == "kind":
        return th.IntegerType
    keys = {"phones": ("name", "number"), "opportunities": ("id", "name", "result", "result_detail")}.get(column)
    return th.ArrayType(th.ObjectType(*[th.Property(k, S) for k in keys])) if keys else S


class Pages(BaseAPIPaginator):
    def __init__(self):
        super().__init__(None)

    def get_next(self, response):
        return response.json().get("nextRecordsUrl")


class Job(RESTStream):
    name = "job"
    url_base = URL
    path = "/services/data/v66.0/query"
    records_jsonpath = "$.records[*]"
    primary_keys = ("external_id",)
    replication_key = None
    schema = th.PropertiesList(*[th.Property(c, kind(c)) for c in COLS]).to_dict()

    def get_new_paginator(self):
        return Pages()

    def get_url(self, context):
        return self.url_base + self.path

    def prepare_request(self, context, next_page_token):
        if next_page_token:
            return self.build_prepared_request(
                method="GET", url=self.url_base + next_page_token, headers=self.http_headers
            )
        return self.build_prepared_request(
            method="GET",
            url=self.url_base + self.path,
            params={"q": f"SELECT x FROM y LIMIT {N}"},
            headers=self.http_headers,
        )

    def post_process(self, row, context=None):
        return dicts(row)


class TapJob(Tap):
    name = "tap-job"
    config_jsonschema = th.PropertiesList().to_dict()

    def discover_streams(self):
        return [Job(self)]


sys.argv = sys.argv[:1]
TapJob.cli()
