// Keeps an HTTP answer in memory that is good for a short time, and says so before the snapshot: with SnapStart a new one is then
// made in time, and no request waits for the origin or sees an answer that is older than its max-age.
//
// ORIGIN is the URL to ask. Without it the function asks a stand-in of its own, whose answers are good for TTL seconds (60).
const http = require('node:http');
const https = require('node:https');

let initialised = 0; // how often this memory was initialised; more than 1 would be a fault of the platform
let cached;
let loads = 0; // how often this memory asked the origin; a request waits for it where this is more than 1

async function standIn() {
  const server = http.createServer((_request, response) => {
    response.setHeader('Cache-Control', `max-age=${process.env.TTL || 60}`);
    response.end(JSON.stringify({ rate: 1 + Math.random() }));
  });
  await new Promise((listening) => { server.listen(0, '127.0.0.1', listening); });
  return { url: `http://127.0.0.1:${server.address().port}/`, close: () => server.close() };
}

function get(url) {
  const client = url.startsWith('https:') ? https : http;
  return new Promise((resolve, reject) => {
    // No connection is kept: it would be dead in every copy.
    client.get(url, { agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (part) => { text += part; });
      response.on('end', () => resolve({ headers: response.headers, text }));
      response.on('error', reject);
    }).on('error', reject);
  });
}

async function load() {
  const origin = process.env.ORIGIN ? { url: process.env.ORIGIN, close() {} } : await standIn();
  loads += 1;
  const asked = Date.now(); // the age of an answer counts from here at most
  const { headers, text } = await get(origin.url);
  origin.close();
  const maxAge = Number((/max-age=([0-9]+)/.exec(headers['cache-control'] || '') || [])[1] || 60);
  cached = { answer: JSON.parse(text), asked, maxAge };
}

// Before the snapshot, and as late as possible: what it states counts from the answer's own time.
awslambda.snapStart.beforeCheckpoint(async () => {
  await load();
  awslambda.snapStart.expiresIn(Math.max(1, cached.maxAge - (Date.now() - cached.asked) / 1000));
});

initialised += 1;
console.log('initialised');

exports.handler = async () => {
  const current = () => (Date.now() - cached.asked) / 1000 < cached.maxAge;
  if (!cached || !current()) await load(); // without SnapStart, or when a refresh fails
  return { ...cached.answer, asked: cached.asked, ageMs: Date.now() - cached.asked, maxAge: cached.maxAge, initialised, loads, how: process.env.AWS_LAMBDA_INITIALIZATION_TYPE };
};
