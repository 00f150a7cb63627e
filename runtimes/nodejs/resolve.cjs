'use strict';
// Lets ES modules find packages on NODE_PATH, as the service's Node does from nodejs18.x on: AWS's SDK, and those of layers. Node itself looks
// there for require() only. What the function has in its own node_modules is found first, because NODE_PATH is asked last.
// Source: AWS Compute Blog, "Node.js 18.x runtime now available in AWS Lambda", ES module resolution using NODE_PATH.

const mod = require('node:module');
const { pathToFileURL } = require('node:url');

// A module that stands beside each node_modules folder of NODE_PATH: what it imports is looked for there.
const parents = (process.env.NODE_PATH || '').split(':').filter((folder) => /\/node_modules\/*$/.test(folder))
  .map((folder) => pathToFileURL(folder.replace(/node_modules\/*$/, 'index.mjs')).href);

// isPackage: no path, no URL, and no import of a package's own.
const isPackage = (specifier) => !/^(?:[./#]|[a-z][a-z0-9+.-]*:)/i.test(specifier);

const concerns = (err, specifier) => Boolean(err) && err.code === 'ERR_MODULE_NOT_FOUND' && isPackage(specifier);

// resolve is the hook of a thread of its own, for module.register.
async function resolve(specifier, context, next) {
  try {
    return await next(specifier, context);
  } catch (err) {
    if (!concerns(err, specifier)) throw err;
    for (const parentURL of parents) {
      try {
        return await next(specifier, { ...context, parentURL });
      } catch {
        // not there either
      }
    }
    throw err;
  }
}

// resolveSync is the hook of this thread, for module.registerHooks.
function resolveSync(specifier, context, next) {
  try {
    return next(specifier, context);
  } catch (err) {
    if (!concerns(err, specifier)) throw err;
    for (const parentURL of parents) {
      try {
        return next(specifier, { ...context, parentURL });
      } catch {
        // not there either
      }
    }
    throw err;
  }
}

const inThread = typeof mod.registerHooks === 'function';
let done = false;

// useNodePath: the hooks of Node before 22.15 run in a thread, which takes time and memory: it is started for ES modules alone.
function useNodePath(forModule) {
  if (done || parents.length === 0 || !(inThread || forModule)) return;
  done = true;
  if (inThread) mod.registerHooks({ resolve: resolveSync });
  else if (typeof mod.register === 'function') mod.register(pathToFileURL(__filename));
}

module.exports = { resolve, useNodePath };
