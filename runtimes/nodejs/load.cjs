'use strict';
// Finds and loads the handler named by _HANDLER.

const fs = require('node:fs');
const path = require('node:path');
const { createRequire } = require('node:module');
const { pathToFileURL } = require('node:url');
const {
  HandlerNotFound, ImportModuleError, MalformedHandlerName, MalformedStreamingHandler, UserCodeSyntaxError,
} = require('./errors.cjs');
const { useNodePath } = require('./resolve.cjs');

const STREAMING = Symbol.for('aws.lambda.runtime.handler.streaming');
const HIGH_WATER_MARK = Symbol.for('aws.lambda.runtime.handler.streaming.highWaterMark');

// split: "dir/file.a.b" is the module dir/file and the export a.b. The first dot behind the last slash splits.
function split(handler) {
  if (handler.includes('..')) {
    throw new MalformedHandlerName(`'${handler}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.`);
  }
  const base = path.basename(handler);
  const dot = base.indexOf('.');
  if (dot < 0) throw new MalformedHandlerName('Bad handler');
  return { folder: handler.slice(0, handler.lastIndexOf(base)), module: base.slice(0, dot), name: base.slice(dot + 1) };
}

// importFile imports an ES module.
function importFile(file) {
  useNodePath(true);
  return import(pathToFileURL(file));
}

async function load(root, handler) {
  useNodePath(false);
  const { folder, module, name } = split(handler);
  let loaded;
  try {
    loaded = await loadModule(root, folder, module);
  } catch (err) {
    if (err instanceof SyntaxError) throw new UserCodeSyntaxError(String(err));
    if (err && err.code === 'MODULE_NOT_FOUND') throw new ImportModuleError(String(err));
    throw err;
  }
  const names = name.split('.');
  const find = (from) => names.reduce((at, key) => (at === undefined || at === null ? undefined : at[key]), from);
  const fn = find(loaded) || find(loaded && loaded.default);
  if (!fn) throw new HandlerNotFound(`${handler} is undefined or not exported`);
  if (typeof fn !== 'function') throw new HandlerNotFound(`${handler} is not a function`);
  return fn;
}

// loadModule tries the file without suffix, then .js (an ES module when the nearest package.json says so), .mjs, .cjs, and at last
// what Node itself finds under that name (a package, in the function or on NODE_PATH).
async function loadModule(root, folder, module) {
  const file = path.resolve(root, folder, module);
  const isFile = (p) => { const s = fs.statSync(p, { throwIfNoEntry: false }); return s !== undefined && !s.isDirectory(); };
  // Required as if by a file of the function, so that errors name it and not the client.
  const require = createRequire(path.join(root, 'index.js'));
  if (isFile(file)) return require(file);
  if (isFile(`${file}.js`)) {
    return isModuleFolder(path.dirname(file)) ? importFile(`${file}.js`) : requireOrImport(require, `${file}.js`);
  }
  if (isFile(`${file}.mjs`)) return importFile(`${file}.mjs`);
  if (isFile(`${file}.cjs`)) return require(`${file}.cjs`);
  return require(require.resolve(module, { paths: [root, path.resolve(root, folder)] }));
}

// requireOrImport: Node 22 and later also require() a file that is an ES module by its syntax, but not one with a top-level await.
async function requireOrImport(require, file) {
  try {
    return require(file);
  } catch (err) {
    if (err && err.code === 'ERR_REQUIRE_ASYNC_MODULE') return importFile(file);
    throw err;
  }
}

// isModuleFolder: does the nearest package.json say "type": "module"?
function isModuleFolder(folder) {
  for (let at = folder; path.basename(at) !== 'node_modules'; at = path.dirname(at)) {
    const file = path.join(at, 'package.json');
    if (fs.existsSync(file)) {
      try {
        return JSON.parse(fs.readFileSync(file, 'utf8')).type === 'module';
      } catch (err) {
        console.warn(`${file} cannot be read, it will be ignored for ES module detection purposes.`, err);
        return false;
      }
    }
    if (at === path.dirname(at)) break;
  }
  return false;
}

// streamOptions: undefined for a buffered handler, else what awslambda.streamifyResponse was told.
function streamOptions(fn) {
  const mode = fn[STREAMING];
  if (mode === undefined || mode === null || mode === false) return undefined;
  if (mode !== 'response') throw new MalformedStreamingHandler('Only response streaming is supported.');
  const mark = Number.parseInt(fn[HIGH_WATER_MARK], 10);
  return Number.isNaN(mark) ? {} : { highWaterMark: mark };
}

function streamifyResponse(handler, options) {
  handler[STREAMING] = 'response';
  if (options && typeof options.highWaterMark === 'number') handler[HIGH_WATER_MARK] = Math.trunc(options.highWaterMark);
  return handler;
}

module.exports = { load, split, streamOptions, streamifyResponse };
