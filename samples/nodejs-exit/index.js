// Ends its process in mid-invocation: event.code is the exit status, event.signal the name of a signal.
exports.handler = async (event) => {
  if (event.signal) process.kill(process.pid, event.signal);
  if (event.code !== undefined) process.exit(event.code);
  return new Promise((resolve) => setTimeout(() => resolve('still here'), 50));
};
