// Counts in the background. Between invocations the environment is frozen and the count stands still, while clocks go on.
let ticks = 0;
setInterval(() => { ticks += 1; }, 10).unref();

exports.handler = async () => ({ ticks, monotonicMs: Math.round(performance.now()), unixMs: Date.now() });
