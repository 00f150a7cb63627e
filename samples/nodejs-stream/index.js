// Answers in parts. event: {"parts": 3, "delayMs": 100, "http": false, "failAfter": null}
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

exports.handler = awslambda.streamifyResponse(async (event, responseStream) => {
  const { parts = 3, delayMs = 0, http = false, failAfter = null } = event;
  const out = http
    ? awslambda.HttpResponseStream.from(responseStream, { statusCode: 200, headers: { 'x-parts': String(parts) } })
    : responseStream;
  if (!http) out.setContentType('text/plain');
  for (let i = 0; i < parts; i++) {
    if (i === failAfter) throw new Error(`failed after ${i} parts`);
    out.write(`part ${i}\n`);
    await sleep(delayMs);
  }
  out.end();
});
