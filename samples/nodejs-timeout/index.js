// Takes event.ms milliseconds, more than its timeout unless told otherwise. Before that it leaves a file in /tmp, which outlives
// the reset that follows a timeout, while memory does not.
const fs = require('node:fs');

let invocations = 0;

exports.handler = async (event, context) => {
  invocations += 1;
  const file = `${process.env.TMPDIR || '/tmp'}/seen`;
  const seen = fs.existsSync(file);
  fs.writeFileSync(file, context.awsRequestId);
  const ms = event.ms === undefined ? 60000 : event.ms;
  await new Promise((resolve) => setTimeout(resolve, ms));
  return { sleptMs: ms, invocations, fileWasThere: seen };
};
