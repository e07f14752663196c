"""Reads a JSON list of PromQL expressions on stdin; prints a JSON list of faults, null where there is none."""
import json
import sys

import promql_parser


def fault(text):
    try:
        promql_parser.parse(text)
        return None
    except ValueError as error:
        return str(error)


print(json.dumps([fault(text) for text in json.load(sys.stdin)]))
