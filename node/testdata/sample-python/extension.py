#!/usr/bin/env python3
# An extension of the construction of AWS's sample for the Telemetry API in Python: urllib, a listener under the sandbox's
# name in a thread, a queue, and a loop that ends with SHUTDOWN or a signal. The text is our own; it knows nothing of this
# project.
import http.server
import json
import os
import queue
import signal
import sys
import threading
import urllib.request

API = 'http://' + os.environ['AWS_LAMBDA_RUNTIME_API']
NAME = sys.argv[1]
ADDRESS, PORT = 'sandbox.localdomain', 4243
came = queue.Queue()


class Listener(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        for event in json.loads(self.rfile.read(int(self.headers['Content-Length']))):
            came.put(event['type'])
        self.send_response(200)
        self.send_header('Content-Length', '0')
        self.end_headers()

    def log_message(self, *args):
        pass


def call(method, path, body=None, **headers):
    request = urllib.request.Request(API + path, method=method, data=None if body is None else json.dumps(body).encode(),
                                     headers={'Content-Type': 'application/json', **{k.replace('_', '-'): v for k, v in headers.items()}})
    with urllib.request.urlopen(request) as response:
        return response.headers, json.loads(response.read())


def dispatch(why):
    types = []
    while not came.empty():
        types.append(came.get())
    print('[python]', why, 'dispatches', *types, flush=True)


def leave(number, frame):
    print('[python] got', signal.Signals(number).name, flush=True)
    sys.exit(0)


def main():
    signal.signal(signal.SIGINT, leave)
    signal.signal(signal.SIGTERM, leave)
    headers, who = call('POST', '/2020-01-01/extension/register', {'events': ['INVOKE', 'SHUTDOWN']}, Lambda_Extension_Name=NAME)
    me = {'Lambda_Extension_Identifier': headers['Lambda-Extension-Identifier']}
    print('[python] registered beside', who['functionName'], who['functionVersion'], who['handler'], flush=True)
    listener = http.server.ThreadingHTTPServer((ADDRESS, PORT), Listener)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    call('PUT', '/2022-07-01/telemetry', {
        'schemaVersion': '2022-07-01', 'types': ['platform', 'function'],
        'buffering': {'timeoutMs': 25, 'maxBytes': 262144, 'maxItems': 1000},
        'destination': {'protocol': 'HTTP', 'URI': 'http://%s:%d' % (ADDRESS, PORT)}}, **me)
    while True:
        _, event = call('GET', '/2020-01-01/extension/event/next', **me)
        dispatch(event['eventType'])
        if event['eventType'] == 'SHUTDOWN':
            print('[python] ends:', event['shutdownReason'], flush=True)
            sys.exit(0)


main()
