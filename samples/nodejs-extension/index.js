// Greets. It knows nothing of the extension beside it: its layer, layer-telemetry, brings that.
exports.handler = async (event) => {
  console.log('greeting');
  return { hello: event.name || 'world' };
};
