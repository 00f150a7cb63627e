// A function's life with AWS's SDK for JavaScript, from create to delete: argv has a zip, a name of its own and a runtime.
import assert from 'node:assert/strict'
import {readFileSync} from 'node:fs'
import {
	Lambda, InvokeWithResponseStreamCommand, ResourceNotFoundException, paginateListAliases, paginateListFunctions, paginateListVersionsByFunction,
	waitUntilFunctionActiveV2, waitUntilFunctionExists, waitUntilFunctionUpdatedV2, waitUntilPublishedVersionActive,
} from '@aws-sdk/client-lambda'
import {CloudWatchLogs, paginateFilterLogEvents} from '@aws-sdk/client-cloudwatch-logs'

const [zip, FunctionName, Runtime] = process.argv.slice(2)
const ZipFile = readFileSync(zip)
const client = new Lambda({}), logs = new CloudWatchLogs({})
const soon = {client, maxWaitTime: 60, minDelay: 1, maxDelay: 1}
const all = async (pages, member) => { const items = []; for await (const p of pages) items.push(...p[member]); return items }
const text = (bytes) => Buffer.from(bytes).toString()

await client.createFunction({FunctionName, Runtime, Handler: 'index.handler', Role: 'arn:aws:iam::000000000000:role/any', Code: {ZipFile},
	Environment: {Variables: {GREETING: 'hello'}}})
await waitUntilFunctionExists(soon, {FunctionName})
await waitUntilFunctionActiveV2(soon, {FunctionName})
await client.updateFunctionConfiguration({FunctionName, MemorySize: 192})
await waitUntilFunctionUpdatedV2(soon, {FunctionName})
await client.updateFunctionCode({FunctionName, ZipFile, Publish: true})
await waitUntilPublishedVersionActive(soon, {FunctionName, Qualifier: '1'})
for (const Name of ['blue', 'green', 'live']) await client.createAlias({FunctionName, Name, FunctionVersion: '1'})
assert.deepEqual((await all(paginateListAliases({client, pageSize: 2}, {FunctionName}), 'Aliases')).map(a => a.Name), ['blue', 'green', 'live'])
assert.deepEqual((await all(paginateListVersionsByFunction({client, pageSize: 1}, {FunctionName}), 'Versions')).map(v => v.Version), ['$LATEST', '1'])

const answer = await client.invoke({FunctionName, Qualifier: 'live', Payload: JSON.stringify({name: 'you'}), LogType: 'Tail'})
assert.deepEqual(JSON.parse(text(answer.Payload)), {hello: 'you', greeting: 'hello', version: '1'})
assert.match(Buffer.from(answer.LogResult, 'base64').toString(), /REPORT RequestId/)
assert.equal((await client.invoke({FunctionName, Payload: '{"fail": true}'})).FunctionError, 'Unhandled')
assert.equal((await client.invoke({FunctionName, InvocationType: 'Event', Payload: '{}'})).StatusCode, 202)
let streamed = '', complete = false
for await (const e of (await client.send(new InvokeWithResponseStreamCommand({FunctionName, Payload: '{"name": "stream"}'}))).EventStream) {
	if (e.PayloadChunk) streamed += text(e.PayloadChunk.Payload)
	complete ||= !!e.InvokeComplete
}
assert.ok(complete && JSON.parse(streamed).hello === 'stream', streamed)

const {FunctionUrl} = await client.createFunctionUrlConfig({FunctionName, Qualifier: 'live', AuthType: 'AWS_IAM', InvokeMode: 'RESPONSE_STREAM'})
assert.equal((await client.getFunctionUrlConfig({FunctionName, Qualifier: 'live'})).FunctionUrl, FunctionUrl)
await client.addPermission({FunctionName, StatementId: 's3', Action: 'lambda:InvokeFunction', Principal: 's3.amazonaws.com'})
assert.match((await client.getPolicy({FunctionName})).Policy, /s3\.amazonaws\.com/)
await client.putFunctionEventInvokeConfig({FunctionName, MaximumRetryAttempts: 0})
await client.putFunctionConcurrency({FunctionName, ReservedConcurrentExecutions: 2})
await client.tagResource({Resource: answerArn(await client.getFunction({FunctionName})), Tags: {team: 'shop'}})
assert.deepEqual((await client.getFunction({FunctionName})).Tags, {team: 'shop'})

const logGroupName = '/aws/lambda/' + FunctionName
for (let n = 0; n < 4;) {
	n = (await all(paginateFilterLogEvents({client: logs, pageSize: 5}, {logGroupName, filterPattern: 'REPORT'}), 'events')).length
}
await logs.deleteLogGroup({logGroupName})
assert.ok((await all(paginateListFunctions({client, pageSize: 1}, {}), 'Functions')).some(f => f.FunctionName === FunctionName))
await client.deleteFunction({FunctionName})
await assert.rejects(client.getFunction({FunctionName}), ResourceNotFoundException)
console.log('done')

function answerArn(got) { return got.Configuration.FunctionArn }
