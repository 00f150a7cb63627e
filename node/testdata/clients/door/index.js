// What clients put APIs in front of: it tells what it was asked, and judges senders where it is asked to.
exports.handler = async (event) => {
	if (event.type === 'TOKEN') {
		return {principalId: 'you', policyDocument: {Version: '2012-10-17', Statement: [{Action: 'execute-api:Invoke', Resource: event.methodArn,
			Effect: event.authorizationToken === 'open' ? 'Allow' : 'Deny'}]}}
	}
	if (event.type === 'REQUEST') return {isAuthorized: event.headers.authorization === 'open', context: {who: 'you'}}
	if (!event.requestContext) return {name: event.name, twice: event.n * 2} // not by a proxy
	const said = {path: event.rawPath || event.path, version: event.version || '1', parameters: event.pathParameters || null, stage: event.requestContext.stage,
		variables: event.stageVariables || null}
	return {statusCode: 200, headers: {'content-type': 'application/json'}, body: JSON.stringify(said)}
}
