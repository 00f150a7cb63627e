// The smallest function worth showing: it greets, and says which invocation of its environment this is.
let count = 0;

exports.handler = async (event, context) => {
  count += 1;
  console.log('hello', event.name || 'world');
  return { greeting: `Hello, ${event.name || 'world'}!`, invocation: count, requestId: context.awsRequestId, node: process.version };
};
