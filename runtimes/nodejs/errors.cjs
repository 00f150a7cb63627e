'use strict';
// Errors as the service's Node client reports them: their names, the JSON of a report, of a log line and of X-Ray.

const { isNativeError } = require('node:util').types;

const named = (name) => {
  const cls = { [name]: class extends Error {} }[name];
  Object.defineProperty(cls.prototype, 'name', { value: `Runtime.${name}`, writable: true, configurable: true });
  return cls;
};

const ImportModuleError = named('ImportModuleError');
const HandlerNotFound = named('HandlerNotFound');
const MalformedHandlerName = named('MalformedHandlerName');
const UserCodeSyntaxError = named('UserCodeSyntaxError');
const MalformedStreamingHandler = named('MalformedStreamingHandler');
const InvalidStreamingOperation = named('InvalidStreamingOperation');
const CallbackHandlerDeprecated = named('CallbackHandlerDeprecated');

class UnhandledPromiseRejection extends named('UnhandledPromiseRejection') {
  constructor(reason, promise) {
    super(String(reason));
    this.reason = reason;
    this.promise = promise;
  }
}

// An error of another realm, or an object that passes for one.
const isError = (v) => isNativeError(v)
  || Boolean(v && typeof v.name === 'string' && typeof v.message === 'string' && typeof v.stack === 'string');

const escapeDelete = (text) => (typeof text === 'string' ? text.replaceAll('\x7f', '%7F') : text);

// report is the body of a POST to .../error.
function report(err) {
  try {
    if (isError(err)) {
      return {
        errorType: escapeDelete(err.name),
        errorMessage: escapeDelete(err.message),
        trace: (escapeDelete(err.stack) || '').split('\n'),
      };
    }
    return { errorType: typeof err, errorMessage: String(err), trace: [] };
  } catch {
    return {
      errorType: 'handled',
      errorMessage: 'callback called with Error argument, but there was a problem while retrieving one or more of its message, name, and stack',
    };
  }
}

// reportText is report as JSON; it never fails.
function reportText(err) {
  const body = report(err);
  try {
    return JSON.stringify(body);
  } catch { // a name or message that is an object with a cycle
    return JSON.stringify({ errorType: String(body.errorType), errorMessage: String(body.errorMessage), trace: [] });
  }
}

// logged is how an error stands in a log line of the Text format: JSON behind a tab.
function logged(err) {
  const error = isError(err) ? err : new Error(String(err));
  try {
    return `\t${JSON.stringify(error, (_key, value) => (value instanceof Error ? withFields(value) : value))}`;
  } catch {
    return `\t${reportText(error)}`;
  }
}

function withFields(err) {
  const out = { errorType: err.name, errorMessage: err.message, code: err.code, ...err };
  if (typeof err.stack === 'string') out.stack = err.stack.split('\n');
  return out;
}

// Longer causes are cut by the platform; one that large says nothing more, and headers have limits.
const MAX_CAUSE = 64 * 1024;

// xrayCause is the value of Lambda-Runtime-Function-XRay-Error-Cause: JSON in ASCII, or '' when there is none to give.
function xrayCause(err) {
  try {
    const frames = String((err && err.stack) || '').split('\n').slice(1).map((line) => {
      const text = line.trim().replace(/^at /, '').replace(/[()]/g, '');
      const space = text.lastIndexOf(' ');
      const [path, number] = text.slice(space + 1).replace(/^file:\/\//, '').split(':');
      return { path, line: Number.parseInt(number, 10), label: space < 0 ? 'anonymous' : text.slice(0, space) };
    });
    const cause = JSON.stringify({
      working_directory: process.cwd(),
      exceptions: [{ type: err.name, message: err.message, stack: frames }],
      paths: [...new Set(frames.map((f) => f.path))],
    }).replace(/[\x7f-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
    return cause.length <= MAX_CAUSE ? cause : '';
  } catch {
    return '';
  }
}

module.exports = {
  CallbackHandlerDeprecated, HandlerNotFound, ImportModuleError, InvalidStreamingOperation, MalformedHandlerName,
  MalformedStreamingHandler, UnhandledPromiseRejection, UserCodeSyntaxError, isError, logged, report, reportText, xrayCause,
};
