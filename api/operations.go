package api

import "strings"

// operation is one row of the API: how a request for it looks, and who answers.
type operation struct {
	name   string
	method string
	path   string // labels in braces
	query  string // name=value that a request must have, name alone that it must not have; empty: any
	// serve answers; nil: the operation is known but not there yet (501).
	serve func(*call) error
	limit int64 // of the body in bytes; 0: controlLimit

	segments []string // of the path, labels empty
}

const controlLimit = 6 << 20 // a body that holds no code and no event; ours

// operations is every operation that the service has. Source: the service's model (botocore 1.43.11) and, for the resource policies,
// the newer Go SDK.
func operations() []*operation {
	const (
		code   = createLimit
		invoke = invokeLimit
	)
	return []*operation{
		{name: "CreateFunction", method: "POST", path: "/2015-03-31/functions", serve: (*call).createFunction, limit: code},
		{name: "GetFunction", method: "GET", path: "/2015-03-31/functions/{FunctionName}", serve: (*call).getFunction},
		{name: "GetFunctionConfiguration", method: "GET", path: "/2015-03-31/functions/{FunctionName}/configuration", serve: (*call).getFunctionConfiguration},
		{name: "UpdateFunctionCode", method: "PUT", path: "/2015-03-31/functions/{FunctionName}/code", serve: (*call).updateFunctionCode, limit: code},
		{name: "UpdateFunctionConfiguration", method: "PUT", path: "/2015-03-31/functions/{FunctionName}/configuration", serve: (*call).updateFunctionConfiguration},
		{name: "ListFunctions", method: "GET", path: "/2015-03-31/functions", serve: (*call).listFunctions},
		{name: "DeleteFunction", method: "DELETE", path: "/2015-03-31/functions/{FunctionName}", serve: (*call).deleteFunction},
		{name: "PublishVersion", method: "POST", path: "/2015-03-31/functions/{FunctionName}/versions", serve: (*call).publishVersion},
		{name: "ListVersionsByFunction", method: "GET", path: "/2015-03-31/functions/{FunctionName}/versions", serve: (*call).listVersionsByFunction},
		{name: "PutFunctionConcurrency", method: "PUT", path: "/2017-10-31/functions/{FunctionName}/concurrency", serve: (*call).putFunctionConcurrency},
		{name: "GetFunctionConcurrency", method: "GET", path: "/2019-09-30/functions/{FunctionName}/concurrency", serve: (*call).getFunctionConcurrency},
		{name: "DeleteFunctionConcurrency", method: "DELETE", path: "/2017-10-31/functions/{FunctionName}/concurrency", serve: (*call).deleteFunctionConcurrency},
		{name: "DeleteProvisionedConcurrencyConfig", method: "DELETE", path: "/2019-09-30/functions/{FunctionName}/provisioned-concurrency", serve: (*call).deleteProvisionedConcurrencyConfig},
		{name: "GetProvisionedConcurrencyConfig", method: "GET", path: "/2019-09-30/functions/{FunctionName}/provisioned-concurrency", query: "List", serve: (*call).getProvisionedConcurrencyConfig},
		{name: "ListProvisionedConcurrencyConfigs", method: "GET", path: "/2019-09-30/functions/{FunctionName}/provisioned-concurrency", query: "List=ALL", serve: (*call).listProvisionedConcurrencyConfigs},
		{name: "PutProvisionedConcurrencyConfig", method: "PUT", path: "/2019-09-30/functions/{FunctionName}/provisioned-concurrency", serve: (*call).putProvisionedConcurrencyConfig},
		{name: "DeleteFunctionEventInvokeConfig", method: "DELETE", path: "/2019-09-25/functions/{FunctionName}/event-invoke-config", serve: (*call).deleteFunctionEventInvokeConfig},
		{name: "GetFunctionEventInvokeConfig", method: "GET", path: "/2019-09-25/functions/{FunctionName}/event-invoke-config", serve: (*call).getFunctionEventInvokeConfig},
		{name: "ListFunctionEventInvokeConfigs", method: "GET", path: "/2019-09-25/functions/{FunctionName}/event-invoke-config/list", serve: (*call).listFunctionEventInvokeConfigs},
		{name: "PutFunctionEventInvokeConfig", method: "PUT", path: "/2019-09-25/functions/{FunctionName}/event-invoke-config", serve: (*call).putFunctionEventInvokeConfig},
		{name: "UpdateFunctionEventInvokeConfig", method: "POST", path: "/2019-09-25/functions/{FunctionName}/event-invoke-config", serve: (*call).updateFunctionEventInvokeConfig},
		{name: "GetAccountSettings", method: "GET", path: "/2016-08-19/account-settings", serve: (*call).getAccountSettings},
		{name: "Invoke", method: "POST", path: "/2015-03-31/functions/{FunctionName}/invocations", serve: (*call).invoke, limit: invoke},
		{name: "InvokeAsync", method: "POST", path: "/2014-11-13/functions/{FunctionName}/invoke-async", serve: (*call).invokeAsync, limit: invoke},
		{name: "InvokeWithResponseStream", method: "POST", path: "/2021-11-15/functions/{FunctionName}/response-streaming-invocations", serve: (*call).invokeWithResponseStream, limit: invoke},
		{name: "TagResource", method: "POST", path: "/2017-03-31/tags/{Resource}", serve: (*call).tagResource},
		{name: "UntagResource", method: "DELETE", path: "/2017-03-31/tags/{Resource}", serve: (*call).untagResource},
		{name: "ListTags", method: "GET", path: "/2017-03-31/tags/{Resource}", serve: (*call).listTags},
		{name: "GetFunctionCodeSigningConfig", method: "GET", path: "/2020-06-30/functions/{FunctionName}/code-signing-config", serve: (*call).getFunctionCodeSigningConfig},
		{name: "GetFunctionRecursionConfig", method: "GET", path: "/2024-08-31/functions/{FunctionName}/recursion-config", serve: (*call).getFunctionRecursionConfig},
		{name: "PutFunctionRecursionConfig", method: "PUT", path: "/2024-08-31/functions/{FunctionName}/recursion-config", serve: (*call).putFunctionRecursionConfig},

		{name: "AddLayerVersionPermission", method: "POST", path: "/2018-10-31/layers/{LayerName}/versions/{VersionNumber}/policy", serve: (*call).addLayerVersionPermission},
		{name: "AddPermission", method: "POST", path: "/2015-03-31/functions/{FunctionName}/policy", serve: (*call).addPermission},
		{name: "CheckpointDurableExecution", method: "POST", path: "/2025-12-01/durable-executions/{DurableExecutionArn}/checkpoint"},
		{name: "CreateAlias", method: "POST", path: "/2015-03-31/functions/{FunctionName}/aliases", serve: (*call).createAlias},
		{name: "CreateCapacityProvider", method: "POST", path: "/2025-11-30/capacity-providers"},
		{name: "CreateCodeSigningConfig", method: "POST", path: "/2020-04-22/code-signing-configs", serve: (*call).createCodeSigningConfig},
		{name: "CreateEventSourceMapping", method: "POST", path: "/2015-03-31/event-source-mappings", serve: (*call).createEventSourceMapping},
		{name: "CreateFunctionUrlConfig", method: "POST", path: "/2021-10-31/functions/{FunctionName}/url", serve: (*call).createFunctionURLConfig},
		{name: "DeleteAlias", method: "DELETE", path: "/2015-03-31/functions/{FunctionName}/aliases/{Name}", serve: (*call).deleteAlias},
		{name: "DeleteCapacityProvider", method: "DELETE", path: "/2025-11-30/capacity-providers/{CapacityProviderName}"},
		{name: "DeleteCodeSigningConfig", method: "DELETE", path: "/2020-04-22/code-signing-configs/{CodeSigningConfigArn}", serve: (*call).deleteCodeSigningConfig},
		{name: "DeleteEventSourceMapping", method: "DELETE", path: "/2015-03-31/event-source-mappings/{UUID}", serve: (*call).deleteEventSourceMapping},
		{name: "DeleteFunctionCodeSigningConfig", method: "DELETE", path: "/2020-06-30/functions/{FunctionName}/code-signing-config", serve: (*call).deleteFunctionCodeSigningConfig},
		{name: "DeleteFunctionUrlConfig", method: "DELETE", path: "/2021-10-31/functions/{FunctionName}/url", serve: (*call).deleteFunctionURLConfig},
		{name: "DeleteLayerVersion", method: "DELETE", path: "/2018-10-31/layers/{LayerName}/versions/{VersionNumber}", serve: (*call).deleteLayerVersion},
		{name: "DeleteResourcePolicy", method: "DELETE", path: "/2026-07-09/resource-policy/{ResourceArn}", serve: (*call).deleteResourcePolicy},
		{name: "GetAlias", method: "GET", path: "/2015-03-31/functions/{FunctionName}/aliases/{Name}", serve: (*call).getAlias},
		{name: "GetCapacityProvider", method: "GET", path: "/2025-11-30/capacity-providers/{CapacityProviderName}"},
		{name: "GetCodeSigningConfig", method: "GET", path: "/2020-04-22/code-signing-configs/{CodeSigningConfigArn}", serve: (*call).getCodeSigningConfig},
		{name: "GetDurableExecution", method: "GET", path: "/2025-12-01/durable-executions/{DurableExecutionArn}"},
		{name: "GetDurableExecutionHistory", method: "GET", path: "/2025-12-01/durable-executions/{DurableExecutionArn}/history"},
		{name: "GetDurableExecutionState", method: "GET", path: "/2025-12-01/durable-executions/{DurableExecutionArn}/state"},
		{name: "GetEventSourceMapping", method: "GET", path: "/2015-03-31/event-source-mappings/{UUID}", serve: (*call).getEventSourceMapping},
		{name: "GetFunctionScalingConfig", method: "GET", path: "/2025-11-30/functions/{FunctionName}/function-scaling-config", serve: (*call).getFunctionScalingConfig},
		{name: "GetFunctionUrlConfig", method: "GET", path: "/2021-10-31/functions/{FunctionName}/url", serve: (*call).getFunctionURLConfig},
		{name: "GetLayerVersion", method: "GET", path: "/2018-10-31/layers/{LayerName}/versions/{VersionNumber}", serve: (*call).getLayerVersion},
		{name: "GetLayerVersionByArn", method: "GET", path: "/2018-10-31/layers", query: "find=LayerVersion", serve: (*call).getLayerVersionByArn},
		{name: "GetLayerVersionPolicy", method: "GET", path: "/2018-10-31/layers/{LayerName}/versions/{VersionNumber}/policy", serve: (*call).getLayerVersionPolicy},
		{name: "GetPolicy", method: "GET", path: "/2015-03-31/functions/{FunctionName}/policy", serve: (*call).getPolicy},
		{name: "GetResourcePolicy", method: "GET", path: "/2026-07-09/resource-policy/{ResourceArn}", serve: (*call).getResourcePolicy},
		{name: "GetRuntimeManagementConfig", method: "GET", path: "/2021-07-20/functions/{FunctionName}/runtime-management-config", serve: (*call).getRuntimeManagementConfig},
		{name: "ListAliases", method: "GET", path: "/2015-03-31/functions/{FunctionName}/aliases", serve: (*call).listAliases},
		{name: "ListCapacityProviders", method: "GET", path: "/2025-11-30/capacity-providers"},
		{name: "ListCodeSigningConfigs", method: "GET", path: "/2020-04-22/code-signing-configs", serve: (*call).listCodeSigningConfigs},
		{name: "ListDurableExecutionsByFunction", method: "GET", path: "/2025-12-01/functions/{FunctionName}/durable-executions"},
		{name: "ListEventSourceMappings", method: "GET", path: "/2015-03-31/event-source-mappings", serve: (*call).listEventSourceMappings},
		{name: "ListFunctionUrlConfigs", method: "GET", path: "/2021-10-31/functions/{FunctionName}/urls", serve: (*call).listFunctionURLConfigs},
		{name: "ListFunctionVersionsByCapacityProvider", method: "GET", path: "/2025-11-30/capacity-providers/{CapacityProviderName}/function-versions"},
		{name: "ListFunctionsByCodeSigningConfig", method: "GET", path: "/2020-04-22/code-signing-configs/{CodeSigningConfigArn}/functions", serve: (*call).listFunctionsByCodeSigningConfig},
		{name: "ListLayerVersions", method: "GET", path: "/2018-10-31/layers/{LayerName}/versions", serve: (*call).listLayerVersions},
		{name: "ListLayers", method: "GET", path: "/2018-10-31/layers", query: "find", serve: (*call).listLayers},
		{name: "PublishLayerVersion", method: "POST", path: "/2018-10-31/layers/{LayerName}/versions", serve: (*call).publishLayerVersion, limit: code},
		{name: "PutFunctionCodeSigningConfig", method: "PUT", path: "/2020-06-30/functions/{FunctionName}/code-signing-config", serve: (*call).putFunctionCodeSigningConfig},
		{name: "PutFunctionScalingConfig", method: "PUT", path: "/2025-11-30/functions/{FunctionName}/function-scaling-config", serve: (*call).putFunctionScalingConfig},
		{name: "PutResourcePolicy", method: "PUT", path: "/2026-07-09/resource-policy/{ResourceArn}", serve: (*call).putResourcePolicy},
		{name: "PutRuntimeManagementConfig", method: "PUT", path: "/2021-07-20/functions/{FunctionName}/runtime-management-config", serve: (*call).putRuntimeManagementConfig},
		{name: "RemoveLayerVersionPermission", method: "DELETE", path: "/2018-10-31/layers/{LayerName}/versions/{VersionNumber}/policy/{StatementId}", serve: (*call).removeLayerVersionPermission},
		{name: "RemovePermission", method: "DELETE", path: "/2015-03-31/functions/{FunctionName}/policy/{StatementId}", serve: (*call).removePermission},
		{name: "SendDurableExecutionCallbackFailure", method: "POST", path: "/2025-12-01/durable-execution-callbacks/{CallbackId}/fail"},
		{name: "SendDurableExecutionCallbackHeartbeat", method: "POST", path: "/2025-12-01/durable-execution-callbacks/{CallbackId}/heartbeat"},
		{name: "SendDurableExecutionCallbackSuccess", method: "POST", path: "/2025-12-01/durable-execution-callbacks/{CallbackId}/succeed"},
		{name: "StopDurableExecution", method: "POST", path: "/2025-12-01/durable-executions/{DurableExecutionArn}/stop"},
		{name: "UpdateAlias", method: "PUT", path: "/2015-03-31/functions/{FunctionName}/aliases/{Name}", serve: (*call).updateAlias},
		{name: "UpdateCapacityProvider", method: "PUT", path: "/2025-11-30/capacity-providers/{CapacityProviderName}"},
		{name: "UpdateCodeSigningConfig", method: "PUT", path: "/2020-04-22/code-signing-configs/{CodeSigningConfigArn}", serve: (*call).updateCodeSigningConfig},
		{name: "UpdateEventSourceMapping", method: "PUT", path: "/2015-03-31/event-source-mappings/{UUID}", serve: (*call).updateEventSourceMapping},
		{name: "UpdateFunctionUrlConfig", method: "PUT", path: "/2021-10-31/functions/{FunctionName}/url", serve: (*call).updateFunctionURLConfig},
	}
}

// router finds the operation of a request by its method and its path as it was sent, still escaped.
type router map[string][]*operation // by method and first segment, the date

func newRouter() router {
	r := router{}
	for _, op := range operations() {
		for i, s := range strings.Split(op.path[1:], "/") {
			if i > 0 && strings.HasPrefix(s, "{") {
				s = ""
			}
			op.segments = append(op.segments, s)
		}
		key := op.method + " " + op.segments[0]
		r[key] = append(r[key], op)
	}
	return r
}

// labels are those of an operation's path, in their order. No path has more.
type labels [3]string

// find returns the operation and the labels of its path, still escaped.
func (rt router) find(method, path, rawQuery string) (op *operation, found labels) {
	path = strings.TrimSuffix(strings.TrimPrefix(path, "/"), "/") // older clients send the collections with a slash behind
	date, rest, _ := strings.Cut(path, "/")
	for _, op := range rt[method+" "+date] {
		found, ok := op.matches(rest)
		if ok && matchesQuery(op.query, rawQuery) {
			return op, found
		}
	}
	return nil, labels{}
}

func (op *operation) matches(rest string) (found labels, ok bool) {
	n := 0
	for i, want := range op.segments[1:] {
		got, tail, more := strings.Cut(rest, "/")
		if last := i == len(op.segments)-2; last == more {
			return found, false
		}
		switch {
		case want != "":
			if got != want {
				return found, false
			}
		case got == "":
			return found, false
		default:
			found[n] = got
			n++
		}
		rest = tail
	}
	return found, true
}

func matchesQuery(want, raw string) bool {
	if want == "" {
		return true
	}
	name, value, exact := strings.Cut(want, "=")
	for kv := range strings.SplitSeq(raw, "&") {
		k, v, _ := strings.Cut(kv, "=")
		if k == name {
			return exact && v == value
		}
	}
	return !exact
}
