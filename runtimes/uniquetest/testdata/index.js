// Draws from every generator that Node has.
const crypto = require('node:crypto'), fs = require('node:fs'), net = require('node:net'), tls = require('node:tls');
const { Worker } = require('node:worker_threads');

const inWorker = `
const crypto = require('node:crypto');
const draw = () => ({
  randomBytes: crypto.randomBytes(16).toString('hex'), randomUUID: crypto.randomUUID(), 'webcrypto.randomUUID': crypto.webcrypto.randomUUID(),
  randomInt: crypto.randomInt(2 ** 48 - 1), 'Math.random': Math.random(),
});`;
const talking = `${inWorker} require('node:worker_threads').parentPort.on('message', () => require('node:worker_threads').parentPort.postMessage(draw()));`;
// This one never returns to its event loop.
const sleeping = `${inWorker}
const { parentPort, workerData } = require('node:worker_threads');
for (let n = 0; ; n++) { Atomics.wait(workerData, 0, n); parentPort.postMessage(draw()); }`;

const bell = new Int32Array(new SharedArrayBuffer(4));
const talker = new Worker(talking, { eval: true }), ownOptions = new Worker(talking, { eval: true, execArgv: ['--no-warnings'] });
const sleeper = new Worker(sleeping, { eval: true, workerData: bell });
const answer = (w) => new Promise((done, fail) => { w.once('message', done); w.once('error', fail); });
const ask = (w) => { const a = answer(w); w.postMessage(0); return a; };
const wake = () => { const a = answer(sleeper); Atomics.add(bell, 0, 1); Atomics.notify(bell, 0); return a; };

// The random of a TLS ClientHello: 5 bytes record, 4 handshake, 2 version, 32 random.
const clientRandom = () => new Promise((done, fail) => {
  const server = net.createServer((c) => c.once('data', (d) => { c.destroy(); server.close(); done(d.subarray(11, 43).toString('hex')); }));
  server.listen(0, '127.0.0.1', () => tls.connect({ port: server.address().port, host: '127.0.0.1', rejectUnauthorized: false }).on('error', () => {}));
  server.on('error', fail);
});

async function draw() {
  const out = {
    randomBytes: crypto.randomBytes(16).toString('hex'),
    randomFillSync: crypto.randomFillSync(Buffer.alloc(16)).toString('hex'),
    randomFill: await new Promise((done, fail) => crypto.randomFill(Buffer.alloc(16), (e, b) => (e ? fail(e) : done(b.toString('hex'))))),
    getRandomValues: Buffer.from(crypto.webcrypto.getRandomValues(new Uint8Array(16))).toString('hex'),
    randomUUID: crypto.randomUUID(), 'randomUUID without cache': crypto.randomUUID({ disableEntropyCache: true }), 'webcrypto.randomUUID': crypto.webcrypto.randomUUID(),
    randomInt: crypto.randomInt(2 ** 48 - 1),
    'randomInt with a callback': await new Promise((done, fail) => crypto.randomInt(2 ** 48 - 1, (e, v) => (e ? fail(e) : done(v)))),
    'Math.random': Math.random(),
    generateKeyPair: crypto.generateKeyPairSync('ec', { namedCurve: 'prime256v1', publicKeyEncoding: { type: 'spki', format: 'pem' } }).publicKey,
    ECDH: crypto.createECDH('prime256v1').generateKeys('hex'),
    TLS: await clientRandom(),
    mkdtemp: fs.mkdtempSync('/tmp/x-'),
  };
  if (crypto.randomUUIDv7) out.randomUUIDv7 = crypto.randomUUIDv7().slice(14); // without its clock
  for (const [name, values] of [['worker', ask(talker)], ['worker with options of its own', ask(ownOptions)], ['sleeping worker', wake()]]) {
    for (const [k, v] of Object.entries(await values)) out[`${name}: ${k}`] = v;
  }
  return out;
}

let before = {}, hook = {}, starting;
awslambda.snapStart.beforeCheckpoint(async () => {
  if (process.env.DRAW_BEFORE) for (const w of [0, 1]) before = await draw(); // twice: what is cached is in use
  starting = new Worker(talking, { eval: true }); // the checkpoint finds it in the middle of that
});
awslambda.snapStart.afterRestore(async () => { hook = await draw(); });
exports.handler = async () => {
  const event = await draw();
  const fresh = new Worker(talking, { eval: true });
  for (const [k, v] of Object.entries(await ask(fresh))) event[`new worker: ${k}`] = v;
  for (const [k, v] of Object.entries(await ask(starting))) event[`worker that was starting: ${k}`] = v;
  await fresh.terminate();
  return { before, hook, event };
};
