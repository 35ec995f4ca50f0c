"""Tries to open TCP connections: to each target, what came of it."""

import json
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

told = json.loads(sys.argv[1])


def attempt(target):
    try:
        with socket.create_connection((target["host"], target["port"]), timeout=3):
            return "open"
    except TimeoutError:
        return "no answer"
    except socket.gaierror:
        return "no such name"
    except OSError as error:
        return error.strerror or type(error).__name__


with ThreadPoolExecutor(16) as pool:
    print(json.dumps(list(pool.map(attempt, told["targets"]))))
