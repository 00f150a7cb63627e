// Fails in the way that event.how names: throw, reject, uncaught, unhandled, string. The environment survives the first, second
// and last.
class OrderRefused extends Error {
  constructor(message) {
    super(message);
    this.name = 'OrderRefused';
  }
}

exports.handler = async (event) => {
  switch (event.how) {
    case 'uncaught':
      setTimeout(() => { throw new OrderRefused('nobody catches this'); }, 1);
      return new Promise(() => {});
    case 'unhandled':
      Promise.reject(new OrderRefused('nobody awaits this'));
      return new Promise((resolve) => setTimeout(resolve, 1000));
    case 'string':
      throw 'just a string'; // eslint-disable-line no-throw-literal
    case 'reject':
      return Promise.reject(new OrderRefused('rejected'));
    default:
      throw new OrderRefused('the order is refused');
  }
};
