"""What comes between Init and the before-snapshot hooks: priming invokes, and telling the platform which hooks run.

AWS's client calls on_init_complete when the handler is loaded; it runs the hooks and parks in restore/next. Here that is preceded by as many rounds
of the client's own loop as there are priming events.
"""

import sys

from awslambdaric import bootstrap

# What handle_event_request takes, by the member of the request that it is. The client's releases differ in how many of them they know.
_OF_REQUEST = {
    "invoke_id": "invoke_id",
    "event_body": "event_body",
    "content_type": "content_type",
    "client_context_json": "client_context",
    "cognito_identity_json": "cognito_identity",
    "invoked_function_arn": "invoked_function_arn",
    "epoch_deadline_time_in_ms": "deadline_time_in_ms",
    "tenant_id": "tenant_id",
    "invocation_id": "invocation_id",
}

# What the Runtime API keeps of hooks at most.
_MAX_HOOKS = 64


def install(primings):
    load, complete = bootstrap._get_handler, bootstrap.on_init_complete
    loaded = []

    def remember(handler):
        loaded[:] = [load(handler)]
        return loaded[0]

    def prime_and_complete(client, log_sink):
        _prime(client, loaded[0], log_sink, primings)
        _tell_hooks(client)
        complete(client, log_sink)

    bootstrap._get_handler, bootstrap.on_init_complete = remember, prime_and_complete


def _prime(client, request_handler, log_sink, rounds):
    code = bootstrap.handle_event_request.__code__
    for _ in range(rounds):
        request = client.wait_next_invocation()
        bootstrap._GLOBAL_AWS_REQUEST_ID = request.invoke_id
        bootstrap.update_xray_env_variable(request.x_amzn_trace_id)
        arguments = {"lambda_runtime_client": client, "request_handler": request_handler, "log_sink": log_sink}
        for name, member in _OF_REQUEST.items():
            arguments[name] = getattr(request, member, None)
        bootstrap.handle_event_request(*[arguments[name] for name in code.co_varnames[: code.co_argcount]])
    bootstrap._GLOBAL_AWS_REQUEST_ID = None


def _tell_hooks(client):
    from snapshot_restore_py import get_before_snapshot

    names = [_name_of(hook[0]) for hook in reversed(get_before_snapshot())][:_MAX_HOOKS]
    if not names:
        return
    try:
        client.call_rapid("PUT", "/2026-01-01/thaw/snapshot", 202, {"hooks": names}, {"Content-Type": "application/json"})
    except Exception as error:  # the names are for people who look at the snapshot; without them it is as good
        print("thaw: names of hooks not told:", error, file=sys.stderr)


def _name_of(function):
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return (getattr(function, "__module__", None) or "") + "." + name
