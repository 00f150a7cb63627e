// Gives back what it got: for measurements and for tests of payloads.
exports.handler = async (event) => event;
