'use strict';
// One keep-alive connection to the Runtime API with as much HTTP/1.1 as that takes. Node's http module costs three times as
// much per request, and every invocation makes two of them.
//
// Requests are answered in order, so the next one may be sent before the last one's answer is here: Connection.request
// does not wait. A response is {status, headers, body}: headers by lower-case name, body as text.

const fs = require('node:fs');
const net = require('node:net');

// Enough for the longest client context that the service allows, several times over.
const MAX_HEAD = 256 * 1024;
const READ_BUFFER = 64 * 1024;

// LostError: the connection went before the first byte of an answer. Whether the request arrived is not known.
class LostError extends Error {
  constructor(cause) {
    super(`connection to the Runtime API lost${cause ? `: ${cause.message}` : ''}`);
    this.name = 'Runtime.ConnectionLost';
  }
}

class ProtocolError extends Error {
  constructor(message) {
    super(`malformed answer of the Runtime API: ${message}`);
    this.name = 'Runtime.ProtocolError';
  }
}

// inherited: the platform may leave a connected socket behind, named by number and inode. It saves the network of the sandbox; where a
// wrapper has closed it or put something else there, it is not used.
function inherited(name) {
  const parts = /^([0-9]+):([0-9]+)$/.exec(name || '');
  if (!parts) return undefined;
  try {
    const fd = Number(parts[1]);
    const s = fs.fstatSync(fd, { bigint: true });
    return s.isSocket() && String(s.ino) === parts[2] ? fd : undefined;
  } catch {
    return undefined;
  }
}

class Connection {
  // address is host:port, socket the name of an inherited socket that is used until it is lost.
  constructor(address, socket) {
    const colon = address.lastIndexOf(':');
    this.host = address.slice(0, colon);
    this.port = Number(address.slice(colon + 1));
    if (colon < 1 || !Number.isInteger(this.port)) throw new Error(`AWS_LAMBDA_RUNTIME_API is not host:port: ${address}`);
    this.hostHeader = `Host: ${address}\r\nUser-Agent: thaw-nodejs/${process.versions.node}\r\n`;
    this.fd = inherited(socket);
    this.socket = null;
    this.pending = []; // {resolve, reject}, oldest first
    this.alive = true; // whether the connection keeps the event loop running
  }

  // ref: an open connection keeps the process running while it waits for the platform, but not while the handler runs: only so can
  // 'beforeExit' tell that the function's own event loop is empty.
  ref(alive) {
    if (this.alive === alive) return;
    this.alive = alive;
    if (this.socket) alive ? this.socket.ref() : this.socket.unref();
  }

  // request sends a complete request and returns the promise of its answer. head is the request line and further headers, without
  // Host and Content-Length.
  request(head, body) {
    const socket = this.open();
    const text = body === undefined ? `${head}${this.hostHeader}\r\n`
      : `${head}${this.hostHeader}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
    const answer = this.expect();
    socket.write(text, 'utf8');
    return answer;
  }

  expect() {
    return new Promise((resolve, reject) => this.pending.push({ resolve, reject }));
  }

  // open returns the socket, connecting first when there is none. Writes before it is connected are kept by Node.
  open() {
    if (this.socket) return this.socket;
    const parser = new Parser((response, close) => this.answered(response, close));
    const onread = {
      buffer: Buffer.allocUnsafeSlow(READ_BUFFER),
      callback: (size, buffer) => {
        if (this.socket === socket) {
          try {
            parser.feed(buffer, size);
          } catch (err) {
            this.drop(err);
          }
        }
        return true;
      },
    };
    const { fd } = this;
    this.fd = undefined;
    const socket = fd === undefined ? net.connect({ host: this.host, port: this.port, noDelay: true, onread })
      : new net.Socket({ fd, readable: true, writable: true, onread });
    this.socket = socket;
    if (!this.alive) socket.unref();
    let failure;
    socket.on('error', (err) => { failure = err; });
    socket.on('close', () => {
      if (this.socket === socket) this.drop(new LostError(failure));
    });
    return socket;
  }

  answered(response, close) {
    const waiting = this.pending.shift();
    if (!waiting) throw new ProtocolError('an answer without a request');
    waiting.resolve(response);
    if (close) this.drop(new LostError());
  }

  // drop closes the connection; whoever waits for an answer on it learns why. The next request opens another one.
  drop(err) {
    const { socket, pending } = this;
    this.socket = null;
    this.pending = [];
    if (socket) socket.destroy();
    for (const waiting of pending) waiting.reject(err);
  }
}

// Parser takes responses out of a byte stream. emit(response, close) is called for each, close when the server will close.
class Parser {
  constructor(emit) {
    this.emit = emit;
    this.rest = null; // bytes of an unfinished head, or of unfinished chunks
    this.response = null; // a head whose body is not complete
    this.body = null; // its body so far, when the length is known
    this.filled = 0;
    this.chunks = null; // its parts so far, when it is not
  }

  feed(buffer, size) {
    let at = 0;
    while (at < size || (this.rest && this.rest.length)) {
      if (this.body) { // a long body: copied straight into place
        const n = Math.min(size - at, this.body.length - this.filled);
        buffer.copy(this.body, this.filled, at, at + n);
        this.filled += n;
        at += n;
        if (this.filled < this.body.length) return;
        const { response, body } = this;
        this.response = this.body = null;
        this.finish(response, body.toString('utf8'));
        continue;
      }
      let data = buffer;
      let end = size;
      if (this.rest) {
        data = Buffer.concat([this.rest, buffer.subarray(at, size)]);
        at = 0;
        end = size = data.length;
        buffer = data;
        this.rest = null;
      }
      const next = this.chunks ? this.chunk(data, at, end) : this.head(data, at, end);
      if (next < 0) { // not complete
        if (end - at > MAX_HEAD && !this.chunks) throw new ProtocolError('headers too long');
        this.rest = Buffer.from(data.subarray(at, end)); // a copy: the buffer is read into again
        return;
      }
      at = next;
    }
  }

  // head reads a status line and headers, and the body too when it is all there. It returns where to go on, or -1.
  head(data, at, end) {
    const stop = data.subarray(at, end).indexOf('\r\n\r\n');
    if (stop < 0) return -1;
    const lines = data.toString('utf8', at, at + stop).split('\r\n');
    const status = /^HTTP\/1\.[01] ([1-5][0-9][0-9])(?: |$)/.exec(lines[0]);
    if (!status) throw new ProtocolError(`status line ${JSON.stringify(lines[0].slice(0, 80))}`);
    const headers = Object.create(null);
    for (let i = 1; i < lines.length; i++) {
      const line = lines[i];
      const colon = line.indexOf(':');
      if (colon < 1) throw new ProtocolError(`header ${JSON.stringify(line.slice(0, 80))}`);
      headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
    }
    const response = { status: Number(status[1]), headers, body: '' };
    const body = at + stop + 4;
    if (response.status < 200) return body; // 100 Continue: the answer comes after it
    if (response.status === 204 || response.status === 304) {
      this.finish(response, '');
      return body;
    }
    const coding = headers['transfer-encoding'];
    if (coding !== undefined) {
      if (coding.toLowerCase() !== 'chunked') throw new ProtocolError(`transfer encoding ${coding}`);
      this.response = response;
      this.chunks = [];
      return body;
    }
    const length = headers['content-length'];
    if (length === undefined || !/^[0-9]{1,10}$/.test(length)) throw new ProtocolError('no content length');
    const want = Number(length);
    if (end - body >= want) {
      this.finish(response, data.toString('utf8', body, body + want));
      return body + want;
    }
    this.response = response;
    this.body = Buffer.allocUnsafeSlow(want);
    this.filled = data.copy(this.body, 0, body, end);
    return end;
  }

  // chunk reads one chunk of a chunked body, or its end with trailers. It returns where to go on, or -1.
  chunk(data, at, end) {
    const line = data.subarray(at, end).indexOf('\r\n');
    if (line < 0) return -1;
    const size = data.toString('latin1', at, at + line).split(';', 1)[0].trim();
    if (!/^[0-9a-fA-F]{1,8}$/.test(size)) throw new ProtocolError('chunk size');
    const want = parseInt(size, 16);
    const start = at + line + 2;
    if (want > 0) {
      if (end - start < want + 2) return -1;
      this.chunks.push(Buffer.from(data.subarray(start, start + want)));
      return start + want + 2;
    }
    let stop = start;
    for (;;) { // trailers, each a line, to an empty one
      const next = data.subarray(stop, end).indexOf('\r\n');
      if (next < 0) return -1;
      stop += next + 2;
      if (next === 0) break;
    }
    const { response, chunks } = this;
    this.response = this.chunks = null;
    this.finish(response, Buffer.concat(chunks).toString('utf8'));
    return stop;
  }

  finish(response, body) {
    response.body = body;
    this.emit(response, (response.headers.connection || '').toLowerCase() === 'close');
  }
}

module.exports = { Connection, LostError, Parser, ProtocolError };
