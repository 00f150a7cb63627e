"""A function's life with boto3, from create to delete: the arguments are a zip, a name of its own and a runtime."""

import base64
import json
import sys
import urllib.request

import boto3
from botocore.exceptions import ClientError

code, name, runtime = open(sys.argv[1], "rb").read(), sys.argv[2], sys.argv[3]
lambda_, logs = boto3.client("lambda"), boto3.client("logs")


def refused(kind, call, **args):
    try:
        call(**args)
    except ClientError as e:
        assert e.response["Error"]["Code"] == kind, e
        return e
    raise AssertionError(f"not refused with {kind}")


def pages(client, operation, member, **args):
    """All items, in pages of two, and how many pages that were."""
    found = list(client.get_paginator(operation).paginate(PaginationConfig={"PageSize": 2}, **args))
    return [item for page in found for item in page[member]], len(found)


# Layers.
for n in range(3):
    layer = lambda_.publish_layer_version(LayerName=name + "-libs", Content={"ZipFile": code}, CompatibleRuntimes=["python3.11", "nodejs20.x"],
                                          CompatibleArchitectures=["x86_64"], LicenseInfo="MIT", Description=f"number {n}")
assert layer["Version"] == 3 and layer["Content"]["CodeSize"] == len(code), layer
versions, n = pages(lambda_, "list_layer_versions", "LayerVersions", LayerName=name + "-libs")
assert [v["Version"] for v in versions] == [3, 2, 1] and n == 2, versions
assert lambda_.get_layer_version_by_arn(Arn=layer["LayerVersionArn"])["Description"] == "number 2"
with urllib.request.urlopen(lambda_.get_layer_version(LayerName=name + "-libs", VersionNumber=3)["Content"]["Location"]) as r:
    assert r.read() == code

# The function, and what waits for it.
made = lambda_.create_function(FunctionName=name, Runtime=runtime, Handler="index.handler", Role="arn:aws:iam::000000000000:role/any",
                               Code={"ZipFile": code}, Environment={"Variables": {"GREETING": "hello"}}, Layers=[layer["LayerVersionArn"]], Tags={"team": "shop"},
                               LoggingConfig={"LogFormat": "JSON"}, Description="sells")
assert made["State"] == "Pending" and made["ResponseMetadata"]["HTTPStatusCode"] == 201, made
refused("ResourceConflictException", lambda_.create_function, FunctionName=name, Runtime=runtime, Handler="index.handler",
        Role="arn:aws:iam::000000000000:role/any", Code={"ZipFile": code})
for waiter in "function_exists", "function_active", "function_active_v2":
    lambda_.get_waiter(waiter).wait(FunctionName=name, WaiterConfig={"Delay": 1})
lambda_.update_function_configuration(FunctionName=name, MemorySize=192, Timeout=9)
for waiter in "function_updated", "function_updated_v2":
    lambda_.get_waiter(waiter).wait(FunctionName=name, WaiterConfig={"Delay": 1})
dry = lambda_.update_function_code(FunctionName=name, ZipFile=code, DryRun=True)
assert dry["CodeSha256"] == made["CodeSha256"], dry

# Versions and aliases.
refused("PreconditionFailedException", lambda_.publish_version, FunctionName=name, RevisionId=made["RevisionId"])
for n in range(1, 4):
    lambda_.update_function_configuration(FunctionName=name, Description=f"release {n}")
    lambda_.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    version = lambda_.publish_version(FunctionName=name)
    assert version["Version"] == str(n), version
lambda_.get_waiter("published_version_active").wait(FunctionName=name, Qualifier="3", WaiterConfig={"Delay": 1})
all_, n = pages(lambda_, "list_versions_by_function", "Versions", FunctionName=name)
assert [v["Version"] for v in all_] == ["$LATEST", "1", "2", "3"] and n == 2, all_
for alias in "blue", "green", "live":
    lambda_.create_alias(FunctionName=name, Name=alias, FunctionVersion="1")
all_, n = pages(lambda_, "list_aliases", "Aliases", FunctionName=name)
assert [a["Name"] for a in all_] == ["blue", "green", "live"] and n == 2, all_
moved = lambda_.update_alias(FunctionName=name, Name="live", FunctionVersion="2", RoutingConfig={"AdditionalVersionWeights": {"3": 0.5}})
assert moved["RoutingConfig"]["AdditionalVersionWeights"] == {"3": 0.5}, moved
refused("ResourceConflictException", lambda_.delete_function, FunctionName=name, Qualifier="2")

# Invokes: by alias and ARN, with the log's tail, as an event, as a stream.
answers = {lambda_.invoke(FunctionName=moved["AliasArn"], Payload='{"name": "you"}')["ExecutedVersion"] for _ in range(24)}
assert answers == {"2", "3"}, answers
got = lambda_.invoke(FunctionName=name, Qualifier="1", Payload=b'{"name": "you"}', LogType="Tail")
assert json.load(got["Payload"]) == {"hello": "you", "greeting": "hello", "version": "1"}, got
assert b"platform.report" in base64.b64decode(got["LogResult"]), got
assert lambda_.invoke(FunctionName=name, InvocationType="Event", Payload=b"{}")["StatusCode"] == 202
assert lambda_.invoke(FunctionName=name, InvocationType="DryRun")["StatusCode"] == 204
failed = lambda_.invoke(FunctionName=name, Payload=b'{"fail": true}')
assert failed["FunctionError"] == "Unhandled" and json.load(failed["Payload"])["errorMessage"] == "as asked", failed
events = list(lambda_.invoke_with_response_stream(FunctionName=name, Payload=b'{"name": "stream"}')["EventStream"])
assert b"".join(e["PayloadChunk"]["Payload"] for e in events if "PayloadChunk" in e).startswith(b'{"hello":"stream"') and "InvokeComplete" in events[-1], events

# Permissions, the URL, events, concurrency, tags.
lambda_.add_permission(FunctionName=name, Qualifier="live", StatementId="s3", Action="lambda:InvokeFunction", Principal="s3.amazonaws.com", SourceArn="arn:aws:s3:::bucket")
assert "s3.amazonaws.com" in lambda_.get_policy(FunctionName=name, Qualifier="live")["Policy"]
lambda_.remove_permission(FunctionName=name, Qualifier="live", StatementId="s3")
refused("ResourceNotFoundException", lambda_.get_policy, FunctionName=name, Qualifier="live")
url = lambda_.create_function_url_config(FunctionName=name, Qualifier="live", AuthType="NONE", Cors={"AllowOrigins": ["*"]})["FunctionUrl"]
assert lambda_.get_function_url_config(FunctionName=name, Qualifier="live")["FunctionUrl"] == url
all_, _ = pages(lambda_, "list_function_url_configs", "FunctionUrlConfigs", FunctionName=name)
assert len(all_) == 1, all_
lambda_.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0, MaximumEventAgeInSeconds=60)
assert lambda_.update_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=1)["MaximumEventAgeInSeconds"] == 60
all_, _ = pages(lambda_, "list_function_event_invoke_configs", "FunctionEventInvokeConfigs", FunctionName=name)
assert len(all_) == 1, all_
lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=5)
lambda_.put_provisioned_concurrency_config(FunctionName=name, Qualifier="blue", ProvisionedConcurrentExecutions=1)
while (p := lambda_.get_provisioned_concurrency_config(FunctionName=name, Qualifier="blue"))["Status"] == "IN_PROGRESS":
    pass
assert p["Status"] == "READY" and p["AllocatedProvisionedConcurrentExecutions"] == 1, p
all_, _ = pages(lambda_, "list_provisioned_concurrency_configs", "ProvisionedConcurrencyConfigs", FunctionName=name)
assert len(all_) == 1, all_
lambda_.delete_provisioned_concurrency_config(FunctionName=name, Qualifier="blue")
refused("ProvisionedConcurrencyConfigNotFoundException", lambda_.get_provisioned_concurrency_config, FunctionName=name, Qualifier="blue")
lambda_.tag_resource(Resource=made["FunctionArn"], Tags={"cost": "low"})
lambda_.untag_resource(Resource=made["FunctionArn"], TagKeys=["team"])
assert lambda_.list_tags(Resource=made["FunctionArn"])["Tags"] == {"cost": "low"}
assert lambda_.get_account_settings()["AccountLimit"]["ConcurrentExecutions"] > 0

# The logs, by pages.
group = "/aws/lambda/" + name
while True:
    lines, n = [e["message"] for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group, PaginationConfig={"PageSize": 3}) for e in page["events"]], 0
    if sum("platform.report" in line for line in lines) >= 28:
        break
assert [g["logGroupName"] for g in pages(logs, "describe_log_groups", "logGroups", logGroupNamePrefix=group)[0]] == [group]
streams, _ = pages(logs, "describe_log_streams", "logStreams", logGroupName=group)
assert streams, streams
logs.delete_log_group(logGroupName=group)

# The end.
assert name in [f["FunctionName"] for f in pages(lambda_, "list_functions", "Functions")[0]]
lambda_.delete_function_url_config(FunctionName=name, Qualifier="live")
lambda_.delete_alias(FunctionName=name, Name="live")
lambda_.delete_function(FunctionName=name, Qualifier="3")
lambda_.delete_function(FunctionName=name)
refused("ResourceNotFoundException", lambda_.get_function, FunctionName=name)
for n in 1, 2, 3:
    lambda_.delete_layer_version(LayerName=name + "-libs", VersionNumber=n)
assert name + "-libs" not in [layer["LayerName"] for layer in pages(lambda_, "list_layers", "Layers")[0]]
print("done")
