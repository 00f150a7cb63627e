// What every client deploys.
exports.handler = async (event) => {
	if (event.fail) throw new Error('as asked')
	return {hello: event.name, greeting: process.env.GREETING, version: process.env.AWS_LAMBDA_FUNCTION_VERSION}
}
