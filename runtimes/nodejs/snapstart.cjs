'use strict';
// The SnapStart hooks of a function: awslambda.snapStart, also require('thaw-snapstart').
//
//   beforeCheckpoint(fn)  runs when initialisation is done, before the snapshot; the last registered first
//   afterRestore(fn)      runs in every environment made from the snapshot, before its first event; the first registered first
//
// A function may be async. The first that fails stops the rest and the environment.

const before = [];
const after = [];

const register = (list) => (fn) => {
  if (typeof fn !== 'function') throw new TypeError('a SnapStart hook must be a function');
  list.push(fn);
};

async function runBefore() {
  while (before.length > 0) await before.pop()();
}

async function runAfter() {
  for (const fn of after) await fn();
}

module.exports = { hooks: { beforeCheckpoint: register(before), afterRestore: register(after) }, runAfter, runBefore };
