'use strict';
// The response stream of handlers made with awslambda.streamifyResponse: a Writable that is one chunked POST.

const { Writable } = require('node:stream');
const { InvalidStreamingOperation, reportText, report } = require('./errors.cjs');

const PRELUDE_TYPE = 'application/vnd.awslambda.http-integration-response';

class ResponseStream extends Writable {
  // head is the request line and headers of the response, without a content type.
  constructor(connection, head, options) {
    super({ decodeStrings: true, ...options });
    this.connection = connection;
    this.head = head;
    this.contentType = 'application/octet-stream';
    this.answer = null; // promise of the platform's answer, once the head is sent
    this.writeCalled = false;
    this.completed = false; // the last chunk is sent
    this.on('error', () => {}); // a function that does not listen must not die of a caller who went away
  }

  setContentType(type) {
    if (this.writeCalled) throw new InvalidStreamingOperation('Cannot set content-type, too late.');
    this.contentType = String(type).replace(/[\r\n]/g, '');
  }

  write(chunk, encoding, callback) {
    let data = chunk;
    if (typeof data !== 'string' && !(data instanceof Uint8Array)) data = JSON.stringify(data);
    if (!this.writeCalled) {
      this.writeCalled = true;
      if (typeof this._onBeforeFirstWrite === 'function') this._onBeforeFirstWrite((first) => super.write(first));
    }
    return super.write(data, encoding, callback);
  }

  // begin sends the head. From here on an error can only be told in a trailer.
  begin() {
    if (this.answer) return;
    const socket = this.connection.open();
    socket.write(`${this.head}Content-Type: ${this.contentType}\r\nLambda-Runtime-Function-Response-Mode: streaming\r\n`
      + 'Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\nTransfer-Encoding: chunked\r\n'
      + `${this.connection.hostHeader}\r\n`, 'latin1');
    this.answer = this.connection.expect();
    this.answer.then((response) => {
      if (this.completed) return;
      // Answered in the middle: the platform takes no more of it, and what it has not read would be taken for a request.
      this.connection.drop(new Error('response stream refused'));
      this.destroy(new Error(`response stream refused with status ${response.status}`));
    }, (err) => this.destroy(err));
  }

  _write(chunk, _encoding, callback) {
    this._writev([{ chunk }], callback);
  }

  _writev(parts, callback) {
    const size = parts.reduce((sum, part) => sum + part.chunk.length, 0);
    if (size === 0 || this.completed) { // an empty chunk would end the body
      callback();
      return;
    }
    const socket = this.connection.open();
    socket.cork();
    this.begin();
    socket.write(`${size.toString(16)}\r\n`, 'latin1');
    for (const part of parts) socket.write(part.chunk);
    socket.write('\r\n', 'latin1', callback);
    socket.uncork();
  }

  _final(callback) {
    if (this.completed) {
      callback();
      return;
    }
    this.begin();
    this.completed = true;
    this.connection.open().write('0\r\n\r\n', 'latin1', callback);
  }

  // fail ends a response that has begun with the error in its trailers, behind everything that was written before.
  async fail(err) {
    if (this.writableEnded && !this.destroyed) await new Promise((resolve) => { this.once('close', resolve); });
    else if (!this.destroyed) await new Promise((resolve) => { super.write(Buffer.alloc(0), resolve); });
    if (this.completed || !this.connection.socket) return; // too late, or nobody to tell
    this.completed = true;
    const type = String(report(err).errorType).replace(/[^\x20-\x7e]/g, '?');
    this.connection.open().write(`0\r\nLambda-Runtime-Function-Error-Type: ${type}\r\n`
      + `Lambda-Runtime-Function-Error-Body: ${Buffer.from(reportText(err)).toString('base64')}\r\n\r\n`, 'latin1');
    this.destroy();
    await this.answer;
  }
}

// HttpResponseStream.from: status, headers and cookies of an HTTP answer go first, as JSON, then eight NUL bytes, then the body.
const HttpResponseStream = {
  from(stream, prelude) {
    stream.setContentType(PRELUDE_TYPE);
    const text = JSON.stringify(prelude);
    stream._onBeforeFirstWrite = (write) => {
      write(text);
      write(new Uint8Array(8));
    };
    return stream;
  },
};

module.exports = { HttpResponseStream, ResponseStream };
