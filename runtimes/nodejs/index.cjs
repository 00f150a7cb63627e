'use strict';
// thaw's runtime interface client for Node 18 and later: loads the handler, then serves one event after the other.
//
// It behaves as AWS's own client does for the runtime named in AWS_EXECUTION_ENV. Until nodejs22.x handlers may answer through a
// callback, and what a handler that is neither async nor calls back returns is ignored; from nodejs24.x on there are no callbacks
// and any returned value counts.
// Source: AWS Lambda Developer Guide, "Define Lambda function handler in Node.js"; the published clients' behaviour.

const v8 = require('node:v8');
const errors = require('./errors.cjs');
const log = require('./log.cjs');
const snapstart = require('./snapstart.cjs');
const { begin, store } = require('./store.cjs');
const { load, streamOptions, streamifyResponse } = require('./load.cjs');
const { HttpResponseStream, ResponseStream } = require('./stream.cjs');
const { Connection, LostError } = require('./wire.cjs');

const { env } = process;
const snapStart = env.AWS_LAMBDA_INITIALIZATION_TYPE === 'snap-start';
const unique = snapStart ? require('./unique.cjs') : null; // loaded by --require before; workers get it so
// How many events prime the snapshot. The copies know nothing of it.
const primings = snapStart ? Number(env._THAW_PRIMING_INVOKES || 0) : 0;
delete env._THAW_PRIMING_INVOKES;
const named = /^AWS_Lambda_nodejs([0-9]+)\.x$/.exec(env.AWS_EXECUTION_ENV || '');
const withCallbacks = Number(named ? named[1] : process.versions.node.split('.')[0]) < 24;

// Exit statuses of the service's client.
const EXIT_REJECTION = 128;
const EXIT_EXCEPTION = 129;
const EXIT_HOOK = 64;

const API = '/2018-06-01/runtime';
const NEXT = `GET ${API}/invocation/next HTTP/1.1\r\n`;

const connection = new Connection(env.AWS_LAMBDA_RUNTIME_API || '', env._THAW_RUNTIME_API_FD);
delete env._THAW_RUNTIME_API_FD;
const nextTurn = () => new Promise((resolve) => { setImmediate(resolve); });

// What is running. phase: init, hooks, idle (waiting for an event), invoke, dying.
let phase = 'init';
let invocation = null; // {head, stream, settle} while phase is invoke
let tellOfHooks = null; // posts the error of the hooks that run
let onEmptyLoop = null; // what to do when the function has nothing left to wait for

process.on('beforeExit', () => {
  const act = onEmptyLoop;
  onEmptyLoop = null;
  if (act) setImmediate(act);
});
process.on('uncaughtException', (err) => { die('Uncaught Exception', err, EXIT_EXCEPTION); });
process.on('unhandledRejection', (reason, promise) => {
  die('Unhandled Promise Rejection', new errors.UnhandledPromiseRejection(reason, promise), EXIT_REJECTION);
});

// die tells the platform of an error that nobody caught, then exits: the process cannot be trusted any more.
function die(what, err, status) {
  if (phase === 'dying') return;
  const [was, inv] = [phase, invocation];
  phase = 'dying';
  onEmptyLoop = null;
  connection.ref(true);
  log.logError(what, err);
  let told = null;
  if (was === 'init') told = initError(err, errors.report(err).errorType);
  else if (was === 'hooks' && tellOfHooks) told = tellOfHooks(err);
  else if (was === 'invoke') told = inv.stream && inv.stream.answer ? inv.stream.fail(err) : postError(inv, err);
  const leave = () => process.exit(status);
  if (told) told.then(leave, leave);
  else leave();
}

// ascii makes a text fit for a header value.
const ascii = (text) => String(text).replace(/[^\x20-\x7e]/g, '?');

function initError(err, type, where = 'init') {
  return connection.request(`POST ${API}/${where}/error HTTP/1.1\r\nContent-Type: application/json\r\n`
    + `Lambda-Runtime-Function-Error-Type: ${ascii(type)}\r\n`, errors.reportText(err));
}

function postError(inv, err) {
  const cause = errors.xrayCause(err);
  return connection.request(`POST ${inv.path}/error HTTP/1.1\r\nContent-Type: application/json\r\n${inv.echo}`
    + (cause ? `Lambda-Runtime-Function-XRay-Error-Cause: ${cause}\r\n` : ''), errors.reportText(err));
}

// postResponse: the platform may answer it together with the next event, unless it refuses it.
function postResponse(inv, text) {
  return connection.request(`POST ${inv.path}/response HTTP/1.1\r\nContent-Type: application/json\r\nThaw-Answer: later\r\n${inv.echo}`, text);
}

// serialize: undefined becomes null, as in the service's client.
function serialize(value) {
  let text;
  try {
    text = JSON.stringify(value === undefined ? null : value);
  } catch {
    throw new Error('Unable to stringify response body');
  }
  return text === undefined ? 'null' : text; // a function or a symbol
}

// accepted waits for the platform's answer to a POST. A refused response is the platform's to report; only what leaves us without a
// platform ends the process.
function accepted(answer) {
  answer.then((response) => {
    if (response.status >= 500) fatal(new Error(`the Runtime API answered ${response.status}`));
  }, (err) => {
    // The connection may go before a refusal (413 of a long body) could be read; without a platform the next call fails as well.
    if (!(err instanceof LostError)) fatal(err);
  });
}

function fatal(err) {
  if (phase === 'dying') return;
  phase = 'dying';
  process.stderr.write(`${err.stack || err}\n`);
  process.exit(1);
}

async function next() {
  for (let attempt = 0; ; attempt++) {
    try {
      const response = await connection.request(NEXT);
      if (response.status === 200) return response;
      throw new Error(`the Runtime API answered ${response.status} to next`);
    } catch (err) {
      if (!(err instanceof LostError) || attempt > 0) throw err;
    }
  }
}

const fixed = {
  functionVersion: env.AWS_LAMBDA_FUNCTION_VERSION,
  functionName: env.AWS_LAMBDA_FUNCTION_NAME,
  memoryLimitInMB: env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
  logGroupName: env.AWS_LAMBDA_LOG_GROUP_NAME,
  logStreamName: env.AWS_LAMBDA_LOG_STREAM_NAME,
};

const parseHeader = (text, name) => {
  if (!text) return undefined;
  try {
    return JSON.parse(text);
  } catch (err) {
    throw new Error(`Cannot parse ${name} as json: ${err}`);
  }
};

function contextOf(headers) {
  const deadline = Number(headers['lambda-runtime-deadline-ms']);
  return {
    ...fixed,
    clientContext: parseHeader(headers['lambda-runtime-client-context'], 'ClientContext'),
    identity: parseHeader(headers['lambda-runtime-cognito-identity'], 'CognitoIdentity'),
    invokedFunctionArn: headers['lambda-runtime-invoked-function-arn'],
    awsRequestId: headers['lambda-runtime-aws-request-id'],
    tenantId: headers['lambda-runtime-aws-tenant-id'],
    getRemainingTimeInMillis: () => deadline - Date.now(),
  };
}

// invokeWithCallbacks runs a handler of the callback era. It calls settle once, with (error) or (null, value).
function invokeWithCallbacks(handler, event, context, settle) {
  let waits = true;
  let called = false;
  const once = (fn) => (...args) => {
    if (called) return;
    called = true;
    onEmptyLoop = null;
    fn(...args);
  };
  const failed = (err) => err !== undefined && err !== null;
  const done = once((err, value) => (failed(err) ? settle(err) : settle(null, value)));
  const callback = once((err, value) => {
    if (failed(err)) settle(err);
    else if (!waits) settle(null, value);
    else onEmptyLoop = () => settle(null, value);
  });
  Object.defineProperty(context, 'callbackWaitsForEmptyEventLoop', {
    enumerable: true, configurable: true, get: () => waits, set: (value) => { waits = value; },
  });
  context.succeed = (value) => done(null, value);
  context.fail = (err) => done(failed(err) ? err : 'handled');
  context.done = done;
  // Neither called back nor settled, and nothing left to wait for: the answer is null.
  onEmptyLoop = () => settle(null, null);
  try {
    const result = handler(event, context, callback);
    if (result && typeof result.then === 'function') result.then(context.succeed, context.fail);
  } catch (err) {
    callback(failed(err) ? err : 'handled');
  }
}

async function serveBuffered(handler, inv, headers, body) {
  let text;
  try {
    const value = await new Promise((resolve, reject) => {
      const context = contextOf(headers);
      const event = JSON.parse(body);
      if (withCallbacks) {
        invokeWithCallbacks(handler, event, context, (err, result) => (err === null ? resolve({ result }) : reject(err)));
      } else {
        Promise.resolve(handler(event, context)).then((result) => resolve({ result }), reject);
      }
    });
    text = serialize(value.result);
  } catch (err) {
    if (phase === 'dying') return;
    connection.ref(true);
    log.logError('Invoke Error', err);
    accepted(postError(inv, err));
    return;
  }
  if (phase === 'dying') return;
  connection.ref(true);
  accepted(postResponse(inv, text));
}

async function serveStream(handler, inv, headers, body, options) {
  const stream = new ResponseStream(connection, `POST ${inv.path}/response HTTP/1.1\r\n${inv.echo}`, options);
  inv.stream = stream;
  let unfinished;
  const empty = new Promise((_resolve, reject) => { unfinished = () => reject(new Error('Response stream is not finished.')); });
  empty.catch(() => {});
  try {
    const context = contextOf(headers);
    context.callbackWaitsForEmptyEventLoop = true;
    const event = JSON.parse(body);
    onEmptyLoop = unfinished;
    const finished = new Promise((resolve) => { stream.once('close', resolve); });
    const result = handler(event, stream, context);
    if (!result || typeof result.then !== 'function') throw new Error('Streaming does not support non-async handlers.');
    if (await Promise.race([result, empty]) !== undefined) console.warn('Streaming handlers ignore return values.');
    await Promise.race([finished, empty]);
    if (!stream.writableFinished) throw stream.errored || new Error('Response stream is not finished.');
  } catch (err) {
    if (phase === 'dying') return;
    onEmptyLoop = null;
    connection.ref(true);
    log.logError('Invoke Error', err);
    if (!stream.answer) accepted(postError(inv, err));
    else await stream.fail(err).catch(() => {});
    return;
  }
  onEmptyLoop = null;
  if (phase === 'dying') return;
  connection.ref(true);
  accepted(stream.answer);
}

// loop serves events, so many of them.
async function loop(handler, events) {
  const options = streamOptions(handler);
  let last = '';
  for (let n = 0; n < events; n++) {
    phase = 'idle';
    const { headers, body } = await next();
    const requestId = headers['lambda-runtime-aws-request-id'];
    const nonce = headers['lambda-runtime-invocation-id'];
    const traceId = headers['lambda-runtime-trace-id'];
    if (!requestId) throw new Error('the Runtime API gave an event without a request id');
    // The same attempt again: the platform did not take our answer and never will.
    if (nonce && nonce === last) throw new Error(`the Runtime API repeats invocation ${nonce}`);
    last = nonce;
    log.current.requestId = requestId;
    log.current.tenantId = headers['lambda-runtime-aws-tenant-id'];
    begin(requestId, traceId, log.current.tenantId);
    if (traceId) env._X_AMZN_TRACE_ID = traceId;
    else delete env._X_AMZN_TRACE_ID;
    invocation = {
      path: `${API}/invocation/${encodeURIComponent(requestId)}`,
      echo: nonce ? `Lambda-Runtime-Invocation-Id: ${ascii(nonce)}\r\n` : '',
      stream: null,
    };
    phase = 'invoke';
    connection.ref(false);
    if (options) await serveStream(handler, invocation, headers, body, options);
    else await serveBuffered(handler, invocation, headers, body);
    if (phase === 'dying') return;
    // What the function left for the next turn of its loop runs before the platform may freeze it.
    await nextTurn();
  }
}

// What the young generation may keep without being shrunk, in bytes.
const YOUNG_KEPT = 2 << 20;

// releaseMemory gives back what V8 holds and nothing needs: it would be saved, and read in again with every copy. gc() collects the garbage and keeps the young
// generation at the size it had, whose halves hold what was there: up to a tenth of the function's memory. To count the objects of a class V8
// first collects as one that is short of memory, and shrinks.
function releaseMemory() {
  const young = v8.getHeapSpaceStatistics().find((space) => space.space_name === 'new_space');
  if (typeof v8.queryObjects === 'function' && young && young.physical_space_size > YOUNG_KEPT) {
    const warn = process.emitWarning;
    process.emitWarning = () => {}; // that it is experimental
    try {
      v8.queryObjects(class None {}, { format: 'count' });
      return;
    } catch {
      // Node's permission model, say: the usual collection, then.
    } finally {
      process.emitWarning = warn;
    }
  }
  if (typeof globalThis.gc === 'function') globalThis.gc();
}

// hooksAndCheckpoint runs the hooks around restore/next, which parks until a snapshot was made and this process is one of its copies.
async function hooksAndCheckpoint() {
  phase = 'hooks';
  tellOfHooks = (err) => initError(err, 'Runtime.BeforeCheckpointError');
  try {
    await snapstart.runBefore();
    await snapstart.settled();
  } catch (err) {
    await hooksFailed('Before Checkpoint Error', err);
  }
  if (phase === 'dying') return; // of an error that nobody caught
  tellOfHooks = null;
  unique.prepare();
  releaseMemory();
  const response = await connection.request(`GET ${API}/restore/next HTTP/1.1\r\n`);
  if (response.status !== 200) throw new Error(`the Runtime API answered ${response.status} to restore/next`);
  tellOfHooks = (err) => initError(err, 'Runtime.AfterRestoreError', 'restore');
  try {
    unique.restored();
    await snapstart.runAfter();
  } catch (err) {
    await hooksFailed('After Restore Error', err);
  }
  tellOfHooks = null;
}

async function hooksFailed(what, err) {
  if (phase === 'dying') return; // an error that nobody caught came first, and is being told
  phase = 'dying';
  log.logError(what, err);
  await tellOfHooks(err).catch(() => {});
  process.exit(EXIT_HOOK);
}

const DEPRECATED = 'ERROR: AWS Lambda has removed support for callback-based function handlers starting with Node.js 24. You need to modify '
  + 'this function to use a supported handler signature to use Node.js 24 or later. For more information see '
  + 'https://docs.aws.amazon.com/lambda/latest/dg/nodejs-handler.html.';

async function main() {
  log.patch(env, withCallbacks ? undefined : '-');
  if (snapStart) snapstart.use(connection);
  if (!['1', 'true'].includes(env.AWS_LAMBDA_NODEJS_NO_GLOBAL_AWSLAMBDA)) {
    globalThis.awslambda = {
      ...globalThis.awslambda, streamifyResponse, HttpResponseStream, InvokeStore: store, snapStart: snapstart.hooks,
    };
  }
  let handler;
  try {
    handler = await load(env.LAMBDA_TASK_ROOT || process.cwd(), env._HANDLER || '');
    if (!withCallbacks && handler.length >= 3 && !streamOptions(handler)) throw new errors.CallbackHandlerDeprecated(DEPRECATED);
    streamOptions(handler);
  } catch (err) {
    die('Uncaught Exception', err, EXIT_EXCEPTION);
    return;
  }
  await nextTurn(); // an unhandled rejection of the module's is told of before the next turn
  if (phase === 'dying') return;
  if (snapStart) {
    await loop(handler, primings);
    if (phase === 'dying') return;
    invocation = null;
    log.current.requestId = undefined;
    await hooksAndCheckpoint();
    if (phase === 'dying') return;
  }
  await loop(handler, Infinity);
}

main().catch(fatal);
