'use strict';
// Feeds responses to the client's parser, cut at every place and at random places, and compares with the uncut result.
// usage: node parser.cjs PATH-OF-wire.cjs SEED
const { Parser, ProtocolError } = require(process.argv[2]);

let seed = Number(process.argv[3]) || 1;
const random = (n) => { seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff; return seed % n; };

function parse(bytes, cuts) {
  const out = [];
  const parser = new Parser((response, close) => out.push([response.status, { ...response.headers }, response.body, close]));
  const buffer = Buffer.alloc(bytes.length + 1, 0x58);
  let at = 0;
  for (const cut of [...cuts, bytes.length]) {
    if (cut <= at) continue;
    buffer.fill(0x58); // what an earlier read left behind must not matter
    bytes.copy(buffer, 0, at, cut);
    parser.feed(buffer, cut - at);
    at = cut;
  }
  return JSON.stringify(out);
}

const good = [
  'HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{"status":"OK"}',
  'HTTP/1.1 200 OK\r\nA:b\r\nContent-length:  4\r\nConnection: close\r\n\r\n\u00fc\u00fc',
  'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n',
  'HTTP/1.1 204 No Content\r\n\r\n',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n3\r\n\u20ac\r\n0\r\nTrailer: t\r\n\r\n',
  'HTTP/1.0 413 \r\nContent-Length: 3\r\n\r\nabc',
];
const all = Buffer.from(good.join(''));
const want = parse(all, []);
if (JSON.parse(want).length !== 6) throw new Error(`parsed ${want}`);
for (let cut = 1; cut < all.length; cut++) {
  const got = parse(all, [cut]);
  if (got !== want) throw new Error(`cut at ${cut}: ${got}`);
}
if (parse(all, Array.from(all.keys())) !== want) throw new Error('cut everywhere');
for (let round = 0; round < 2000; round++) {
  const cuts = Array.from({ length: random(12) }, () => random(all.length)).sort((a, b) => a - b);
  if (parse(all, cuts) !== want) throw new Error(`cuts ${cuts}`);
}

const bad = ['FTP/1.1 200 OK\r\n\r\n', 'HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n', 'HTTP/1.1 200 OK\r\n\r\n', 'HTTP/1.1 200 OK\r\nno colon\r\n\r\n',
  'HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n', 'HTTP/1.1 200 OK\r\nContent-Length: 1e3\r\n\r\n', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n', `HTTP/1.1 200 OK\r\nA: ${'x'.repeat(300000)}`];
for (const text of bad) {
  try {
    parse(Buffer.from(text), []);
  } catch (err) {
    if (err instanceof ProtocolError) continue;
    throw err;
  }
  throw new Error(`taken: ${text.slice(0, 60)}`);
}

// Damage anywhere: a result, or a ProtocolError, never anything else and never an endless loop.
for (let round = 0; round < 3000; round++) {
  const bytes = Buffer.from(all);
  for (let i = random(4); i >= 0; i--) bytes[random(bytes.length)] = random(256);
  try {
    parse(bytes, [random(all.length)]);
  } catch (err) {
    if (!(err instanceof ProtocolError)) throw err;
  }
}
