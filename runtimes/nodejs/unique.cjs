'use strict';
// Keeps two environments made from one snapshot from drawing the same random values. It is loaded with --require, under SnapStart only,
// before any other code, in the main thread and in every worker.
//
// What needs it: OpenSSL's own generators do not (the sandbox's kernel tells them that they were copied). Node's JavaScript keeps bytes in
// advance for randomUUID (128 of them) and randomInt (1,024), and V8 has a generator of its own for Math.random.
//
// The main thread is told by the client, right after restore/next was answered and before any hook. A worker may be busy, or asleep in
// Atomics.wait, so nobody waits for it: it looks at a number that all threads share at each draw.

const fs = require('node:fs');
const { syncBuiltinESMExports } = require('node:module');
const { setFlagsFromString } = require('node:v8');
const workers = require('node:worker_threads');

const KEY = 'thaw.snapstart.restores';
// V8 was started with a seed, so that its heap lies where that of the function's other snapshots lies. What isolates draw that are made from now on shall not follow from it.
if (workers.isMainThread) setFlagsFromString('--random-seed=0');

if (workers.isMainThread) workers.setEnvironmentData(KEY, new Int32Array(new SharedArrayBuffer(4)));
const restores = workers.getEnvironmentData(KEY); // [how often this process was restored]; new workers and theirs get it, too

const UUIDS = 128 + 1; // Source: kBatchSize in Node's lib/internal/crypto/random.js
const INTS = 1024 + 1; // Source: randomCache in the same file, 6 bytes each

// drain uses up what was drawn before the snapshot.
function drain({ randomUUID, randomInt }) {
  for (let i = 0; i < UUIDS; i++) randomUUID(); // randomUUIDv7 takes from the same bytes
  for (let i = 0; i < INTS; i++) randomInt(0x100000000);
}

// Node loads its random generators only for those who ask for them.
function cryptoIsLoaded() {
  const list = process.moduleLoadList;
  return !Array.isArray(list) || list.includes('NativeModule internal/crypto/random');
}

const { openSync, readSync, closeSync } = fs;

// kernelWords reads from the kernel itself: it differs whatever became of OpenSSL.
function kernelWords(n) {
  const words = new Int32Array(n);
  const fd = openSync('/dev/urandom', 'r');
  try {
    for (let at = 0; at < words.byteLength;) at += readSync(fd, words, at, words.byteLength - at, null);
  } finally {
    closeSync(fd);
  }
  return words;
}

let seeded = -1; // value of restores[0] for which the generator below was seeded
let [a, b, c, d] = [0, 0, 0, 0];

function seed(at) {
  [a, b, c, d] = kernelWords(4);
  if ((a | b | c | d) === 0) a = 1;
  seeded = at;
}

// word is one step of xoshiro128+. Source: D. Blackman and S. Vigna, "Scrambled linear pseudorandom number generators". V8's own is of
// that family (xorshift128+) and promises no more.
function word() {
  const t = b << 9;
  const r = (a + d) | 0;
  c ^= a; d ^= b; b ^= c; a ^= d; c ^= t;
  d = (d << 11) | (d >>> 21);
  return r;
}

// V8's own follows from the seed that it was started with: the same in all snapshots of a function. A bound method has neither prototype nor source text, like the original.
const random = {
  random() {
    const now = Atomics.load(restores, 0);
    if (now !== seeded) seed(now);
    return ((word() >>> 5) * 0x4000000 + (word() >>> 6)) / 0x20000000000000;
  },
}.random.bind(undefined);

function replace(object, name, value) {
  Object.defineProperty(value, 'name', { value: object[name].name, configurable: true });
  Object.defineProperty(value, 'length', { value: object[name].length, configurable: true });
  Object.defineProperty(object, name, { ...Object.getOwnPropertyDescriptor(object, name), value });
}

// lazily makes the functions of a worker that draw from the caches drain these first, once after each restore.
function lazily(crypto) {
  const { randomUUID, randomInt } = crypto;
  let drained = 0;
  const wrap = (object, name) => {
    const original = object[name];
    if (typeof original !== 'function') return;
    replace(object, name, {
      [name](...args) {
        const now = Atomics.load(restores, 0);
        if (now !== drained) {
          drain({ randomUUID, randomInt });
          drained = now;
        }
        return Reflect.apply(original, this, args);
      },
    }[name]);
  };
  wrap(crypto, 'randomUUID');
  wrap(crypto, 'randomUUIDv7');
  wrap(crypto, 'randomInt');
  const { webcrypto } = crypto;
  if (webcrypto) {
    for (const name of ['randomUUID', 'randomUUIDv7']) {
      if (Object.hasOwn(Object.getPrototypeOf(webcrypto), name)) wrap(Object.getPrototypeOf(webcrypto), name);
    }
  }
}

// A worker that names its own options would start without this file.
function followWorkers() {
  const { Worker } = workers;
  workers.Worker = new Proxy(Worker, {
    construct(target, [file, options, ...rest], newTarget) {
      let given = options;
      if (given && Array.isArray(given.execArgv)) given = { ...given, execArgv: ['--require', __filename, ...given.execArgv] };
      return Reflect.construct(target, [file, given, ...rest], newTarget === workers.Worker ? target : newTarget);
    },
  });
}

if (restores) {
  replace(Math, 'random', random);
  followWorkers();
  // In a worker that starts after the restore these are new. But it cannot know whether its isolate is: it may have been starting while the
  // snapshot was made, and V8 draws the seed of Math.random early.
  if (!workers.isMainThread && Atomics.load(restores, 0) === 0) lazily(require('node:crypto'));
  syncBuiltinESMExports();
}

module.exports = {
  // prepare runs before the checkpoint what restored will run after it, so that its code is compiled by then.
  prepare() {
    if (cryptoIsLoaded()) drain(require('node:crypto'));
    kernelWords(4);
  },
  // restored makes every generator of the main thread differ from those of all other copies; workers follow at their next draw.
  restored() {
    seed(Atomics.add(restores, 0, 1) + 1);
    if (cryptoIsLoaded()) drain(require('node:crypto'));
  },
};
