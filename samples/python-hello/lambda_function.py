import platform

count = 0


def handler(event, context):
    """Greets, and says which invocation of its environment this is."""
    global count
    count += 1
    name = event.get("name", "world")
    print("hello", name)
    return {
        "greeting": f"Hello, {name}!",
        "invocation": count,
        "requestId": context.aws_request_id,
        "python": platform.python_version(),
    }
