"""APIs with boto3: quick create, and a REST API by hand. The arguments are a zip, a name of its own and a runtime."""

import json
import os
import sys
import urllib.error
import urllib.request

import boto3
from botocore.exceptions import ClientError

code, name, runtime = open(sys.argv[1], "rb").read(), sys.argv[2], sys.argv[3]
lambda_, http, rest = boto3.client("lambda"), boto3.client("apigatewayv2"), boto3.client("apigateway")
endpoint = os.environ["AWS_ENDPOINT_URL"]


def get(path, status=200, headers={}, data=None):
    """The answer to a request by the path form, which needs no name service."""
    try:
        with urllib.request.urlopen(urllib.request.Request(endpoint + "/execute-api/" + path, headers=headers, data=data)) as r:
            got, body = r.status, r.read()
    except urllib.error.HTTPError as e:
        got, body = e.code, e.read()
    assert got == status, (path, got, body)
    return json.loads(body)


def pages(client, operation, **args):
    found = list(client.get_paginator(operation).paginate(PaginationConfig={"PageSize": 1}, **args))
    return [item for page in found for item in page.get("Items", page.get("items"))]


arn = lambda_.create_function(FunctionName=name, Runtime=runtime, Handler="index.handler", Role="arn:aws:iam::000000000000:role/any",
                              Code={"ZipFile": code})["FunctionArn"]
lambda_.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})

# Quick create: without the function's permission it answers as the service does.
api = http.create_api(Name=name, ProtocolType="HTTP", Target=arn)
assert get(api["ApiId"] + "/$default/orders", 500) == {"message": "Internal Server Error"}
lambda_.add_permission(FunctionName=name, StatementId="apis", Action="lambda:InvokeFunction", Principal="apigateway.amazonaws.com")
said = get(api["ApiId"] + "/$default/orders")
assert said["version"] == "2.0" and said["path"].endswith("/orders") and said["stage"] == "$default", said
assert api["ApiEndpoint"].startswith("http://" + api["ApiId"] + ".execute-api.eu-west-1."), api
integration = http.get_integrations(ApiId=api["ApiId"])["Items"][0]["IntegrationId"]
http.create_route(ApiId=api["ApiId"], RouteKey="GET /orders/{id}", Target="integrations/" + integration)
assert get(api["ApiId"] + "/$default/orders/7")["parameters"] == {"id": "7"}  # without a deployment by hand
assert api["ApiId"] in [a["ApiId"] for a in pages(http, "get_apis")]
assert len(pages(http, "get_routes", ApiId=api["ApiId"])) == 2
try:
    http.get_route(ApiId=api["ApiId"], RouteId="none")
    raise AssertionError("a route that is not there")
except http.exceptions.NotFoundException:
    pass

# A REST API by hand: a proxy, an integration with templates, an authorizer, a key.
id_ = rest.create_rest_api(name=name, endpointConfiguration={"types": ["REGIONAL"]})["id"]
root = rest.get_rest_api(restApiId=id_)["rootResourceId"]
uri = "arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/" + arn + "/invocations"


def method(part, verb, type_, **args):
    resource = rest.create_resource(restApiId=id_, parentId=root, pathPart=part)["id"]
    at = {"restApiId": id_, "resourceId": resource, "httpMethod": verb}
    rest.put_method(**at, **{"authorizationType": "NONE", **args})
    return at


at = method("{proxy+}", "ANY", "AWS_PROXY")
rest.put_integration(**at, type="AWS_PROXY", integrationHttpMethod="POST", uri=uri)
at = method("double", "POST", "AWS")
rest.put_integration(**at, type="AWS", integrationHttpMethod="POST", uri=uri,
                     requestTemplates={"application/json": '#set($in = $input.path("$"))\n{"name": "$in.name", "n": $in.items.size()}'})
rest.put_method_response(**at, statusCode="200")
rest.put_integration_response(**at, statusCode="200", responseTemplates={"application/json": '{"is": $input.json("$.twice"), "of": "$input.path(\'$.name\')"}'})
judge = rest.create_authorizer(restApiId=id_, name="judge", type="TOKEN", authorizerUri=uri, identitySource="method.request.header.Authorization")["id"]
at = method("judged", "GET", "AWS_PROXY", authorizationType="CUSTOM", authorizerId=judge)
rest.put_integration(**at, type="AWS_PROXY", integrationHttpMethod="POST", uri=uri)
at = method("keyed", "GET", "AWS_PROXY", apiKeyRequired=True)
rest.put_integration(**at, type="AWS_PROXY", integrationHttpMethod="POST", uri=uri)
rest.create_deployment(restApiId=id_, stageName="prod", variables={"table": "orders"})
key = rest.create_api_key(name=name, enabled=True)
plan = rest.create_usage_plan(name=name, apiStages=[{"apiId": id_, "stage": "prod"}], quota={"limit": 1, "period": "MONTH"})["id"]
rest.create_usage_plan_key(usagePlanId=plan, keyId=key["id"], keyType="API_KEY")

said = get(id_ + "/prod/any/where")
assert said["path"] == "/any/where" and said["parameters"] == {"proxy": "any/where"} and said["variables"] == {"table": "orders"}, said
assert get(id_ + "/prod/double", headers={"content-type": "application/json"}, data=b'{"name": "a", "items": [1, 2, 3]}') == {"is": 6, "of": "a"}
assert get(id_ + "/prod/judged", 401) == {"message": "Unauthorized"}
get(id_ + "/prod/judged", 403, {"Authorization": "shut"})
get(id_ + "/prod/judged", 200, {"Authorization": "open"})
assert get(id_ + "/prod/keyed", 403) == {"message": "Forbidden"}
get(id_ + "/prod/keyed", 200, {"x-api-key": key["value"]})
assert get(id_ + "/prod/keyed", 429, {"x-api-key": key["value"]}) == {"message": "Limit Exceeded"}

# The same API from its own export.
document = rest.get_export(restApiId=id_, stageName="prod", exportType="oas30", parameters={"extensions": "apigateway"})["body"].read()
again = rest.import_rest_api(body=document)
assert again["name"] == name and len(pages(rest, "get_resources", restApiId=again["id"])) == 5, again
rest.create_deployment(restApiId=again["id"], stageName="copy")
assert get(again["id"] + "/copy/any")["path"] == "/any"
rest.delete_rest_api(restApiId=again["id"])

# The end.
rest.update_usage_plan(usagePlanId=plan, patchOperations=[{"op": "remove", "path": "/apiStages", "value": id_ + ":prod"}])
rest.delete_usage_plan(usagePlanId=plan)
rest.delete_api_key(apiKey=key["id"])
rest.delete_rest_api(restApiId=id_)
http.delete_api(ApiId=api["ApiId"])
try:
    rest.get_rest_api(restApiId=id_)
    raise AssertionError("an API that was deleted")
except ClientError as e:
    assert e.response["Error"]["Code"] == "NotFoundException", e
lambda_.delete_function(FunctionName=name)
print("done")
