'use strict';
// The SnapStart hooks of a function: awslambda.snapStart, also require('thaw-snapstart').
//
//   beforeCheckpoint(fn)  runs when initialisation is done, before the snapshot; the last registered first
//   afterRestore(fn)      runs in every environment made from the snapshot, before its first event; the first registered first
//   expiresIn(seconds)    says when what is cached is no longer good: a new snapshot is made in time. Call it before the snapshot,
//                         at best in a beforeCheckpoint hook; without SnapStart it does nothing
//
// A function may be async. The first that fails stops the rest and the environment.

// What is told of hooks at most: the Runtime API drops the rest.
const MAX_HOOKS = 64;
const MAX_NAME = 128;

const before = [];
const after = [];
let connection = null; // to the Runtime API; none without SnapStart
const told = []; // what expiresIn has sent; the snapshot waits for the answers

function use(runtimeAPI) { connection = runtimeAPI; }

const note = (what) => connection.request('PUT /2026-01-01/thaw/snapshot HTTP/1.1\r\nContent-Type: application/json\r\n', JSON.stringify(what));

const register = (list) => (fn) => {
  if (typeof fn !== 'function') throw new TypeError('a SnapStart hook must be a function');
  list.push(fn);
};

// runBefore tells the platform the names of the hooks that ran, for people who look at the snapshot.
async function runBefore() {
  const hooks = [];
  while (before.length > 0) {
    const fn = before.pop();
    await fn();
    hooks.push(fn.name || 'anonymous');
  }
  if (hooks.length > 0) await note({ hooks: hooks.slice(0, MAX_HOOKS).map((name) => name.slice(0, MAX_NAME)) });
}

async function runAfter() {
  for (const fn of after) await fn();
}

// expiresIn resolves when the platform has taken note. Whether it is awaited or not, the snapshot is not made before.
function expiresIn(seconds) {
  if (typeof seconds !== 'number' || !(seconds > 0)) throw new RangeError('expiresIn takes a number of seconds above 0');
  if (!connection) return Promise.resolve();
  const stated = note({ ttlSeconds: seconds }).then((answer) => {
    if (answer.status !== 202) throw new Error(`the expiry of the snapshot was refused: ${answer.body}`);
  });
  stated.catch(() => {}); // settled has it
  told.push(stated);
  return stated;
}

// settled fails with the first refusal.
async function settled() {
  while (told.length > 0) await told.shift();
}

module.exports = {
  hooks: { beforeCheckpoint: register(before), afterRestore: register(after), expiresIn }, runAfter, runBefore, settled, use,
};
