// The Node function of the suite's snapshot part.
const http = require('http'), net = require('net'), fs = require('fs'), crypto = require('crypto');
const value = crypto.randomBytes(8).toString('hex'); // OpenSSL's generator is in use before the snapshot
const ballast = Buffer.alloc(Number(process.env.BALLAST_MB || 0) << 20, 7); // not zero: zero pages are not saved
fs.writeFileSync('/tmp/kept', value);
let fired = false;
setTimeout(() => { fired = true; }, 3600e3);
const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(':');
const agent = new http.Agent({ keepAlive: true });
const call = (method, path, body) => new Promise((done, fail) => {
  const r = http.request({ host, port, method, agent, path: '/2018-06-01/runtime/' + path }, (a) => {
    let text = '';
    a.on('data', (d) => { text += d; }).on('end', () => done([a.headers, text]));
  });
  r.on('error', fail).end(body);
});
const server = net.createServer((c) => c.pipe(c)).listen(0, '127.0.0.1', async () => {
  const conn = net.connect(server.address().port, '127.0.0.1');
  for (let calls = 0; ; calls++) {
    const [headers] = await call('GET', 'invocation/next');
    const id = headers['lambda-runtime-aws-request-id'];
    const loop = await new Promise((done) => {
      conn.once('data', (d) => done(String(d) === 'ping ' + calls));
      conn.write('ping ' + calls);
    });
    const urandom = Buffer.alloc(16), fd = fs.openSync('/dev/urandom', 'r');
    fs.readSync(fd, urandom);
    fs.closeSync(fd);
    await call('POST', 'invocation/' + id + '/response', JSON.stringify({
      value, kept: String(fs.readFileSync('/tmp/kept')), loop, calls, fired, pid: process.pid, ballast: ballast.length,
      mono: Number(process.hrtime.bigint()) / 1e9, wall: Date.now() / 1e3,
      random: {
        urandom: urandom.toString('hex'), randomBytes: crypto.randomBytes(16).toString('hex'), randomUUID: crypto.randomUUID({ disableEntropyCache: true }),
        keys: crypto.createECDH('prime256v1').generateKeys('hex'),
      },
    }));
  }
});
