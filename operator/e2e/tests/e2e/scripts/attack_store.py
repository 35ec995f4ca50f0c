"""Tries what a user of the object store should not be able to do: to each attempt, the status and the code that the store
gave, or null when it was let in. Told of users by the names of their Secrets."""

import json
import re
import sys

import store

told = json.loads(sys.argv[1])


def send(wanted):
    # No answer is no refusal: on a busy machine the store, or the way to it, may need a moment.
    for _ in range(5):
        status, content, left = request(wanted)
        if status:
            break
    if 200 <= status < 300:
        return None
    code = re.search(r"<Code>(\w+)</Code>|\"Code\": ?\"(\w+)\"", content.decode("utf-8", "replace"))
    return "%s %s curl %s" % (status, code.group(1) or code.group(2) if code else "", left)


def request(wanted):
    body = wanted.get("body")
    return store.request(
        told["user"],
        wanted["path"],
        wanted.get("method") or "GET",
        None if body is None else body.encode(),
        query=wanted.get("query") or "",
        signed=not wanted.get("anonymous"),
        keys=wanted.get("as"),
        headers=wanted.get("headers") or (),
    )


def attempt(wanted):
    answer = send(wanted)
    if answer is None and wanted.get("undo"):
        send(wanted["undo"])
    return answer


print(json.dumps([attempt(wanted) for wanted in told["attempts"]]))
