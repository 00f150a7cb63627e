'use strict';
// console as the managed runtimes have it: text or JSON lines with time, request id and level, to the framed descriptor when the
// platform gives one, else to stdout with the newlines inside a message replaced by carriage returns.

const fs = require('node:fs');
const { format } = require('node:util');
const { isError, logged } = require('./errors.cjs');

const LEVELS = ['TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL'];

// Of the invocation that runs.
const current = { requestId: undefined, tenantId: undefined };

let json = false;

// patch replaces console's methods. blank stands for the request id where there is no invocation.
function patch(env, blank) {
  json = (env.AWS_LAMBDA_LOG_FORMAT || '').toUpperCase() === 'JSON';
  const least = LEVELS.indexOf((env.AWS_LAMBDA_LOG_LEVEL || '').toUpperCase()); // unknown: everything
  const fd = env._LAMBDA_TELEMETRY_LOG_FD;
  delete process.env._LAMBDA_TELEMETRY_LOG_FD;
  const out = fd === undefined || fd === '' || !Number.isInteger(Number(fd)) ? toStdout : toFrames(Number(fd));
  const line = json ? jsonLine : textLine;
  const method = (level) => {
    if (level < least) return () => {};
    return (...args) => {
      const now = new Date();
      out(level, now, line(now, level, current.requestId === undefined ? blank : current.requestId, args));
    };
  };
  LEVELS.forEach((name, level) => { console[name.toLowerCase()] = method(level); });
  console.log = console.info;
}

function textLine(now, level, requestId, args) {
  return `${now.toISOString()}\t${requestId}\t${LEVELS[level]}\t${format(...args)}`;
}

function jsonLine(now, level, requestId, args) {
  const out = { timestamp: now.toISOString(), level: LEVELS[level], requestId };
  if (current.tenantId) out.tenantId = current.tenantId;
  if (args.length === 1) {
    [out.message] = args;
    try {
      return JSON.stringify(out, (_key, value) => (value instanceof Error ? errorFields(value) : value));
    } catch {
      out.message = format(out.message);
      return JSON.stringify(out);
    }
  }
  out.message = format(...args);
  const err = args.find((a) => a instanceof Error);
  if (err) Object.assign(out, errorFields(err, true));
  return JSON.stringify(out);
}

function errorFields(err, only) {
  const fields = {
    errorType: (err.constructor && err.constructor.name) || 'UnknownError',
    errorMessage: err.message,
    stackTrace: typeof err.stack === 'string' ? err.stack.split('\n') : [],
  };
  return only ? fields : { ...fields, ...err };
}

function toStdout(_level, _now, text) {
  process.stdout.write(`${text.replaceAll('\n', '\r')}\n`);
}

// toFrames writes to the platform's descriptor: 4 bytes type, 4 bytes length, 8 bytes microseconds, all big-endian, then the message.
// One write, so that frames of up to PIPE_BUF bytes cannot be torn by another writer.
function toFrames(fd) {
  return (level, now, text) => {
    const message = json ? text : `${text}\n`;
    const length = Buffer.byteLength(message);
    const frame = Buffer.allocUnsafe(16 + length);
    frame.writeUInt32BE((0xa55a0002 | (json ? 0 : 1) | ((level + 1) << 2)) >>> 0, 0);
    frame.writeUInt32BE(length, 4);
    frame.writeBigInt64BE(BigInt(now.getTime()) * 1000n, 8);
    frame.write(message, 16);
    for (let at = 0; at < frame.length;) {
      try {
        at += fs.writeSync(fd, frame, at);
      } catch (err) {
        if (err.code !== 'EAGAIN') return; // nobody reads any more: a log line is not worth the function
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
      }
    }
  };
}

// logError is how the client itself tells of an error.
function logError(what, err) {
  if (json) console.error(isError(err) ? err : new Error(String(err)));
  else console.error(what, logged(err));
}

module.exports = { current, logError, patch };
