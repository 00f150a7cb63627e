'use strict';
// awslambda.InvokeStore: what @aws/lambda-invoke-store (in the AWS SDK and in logging libraries) looks for. One invocation runs at a
// time, so the store is one object.

const KEYS = {
  REQUEST_ID: Symbol.for('_AWS_LAMBDA_REQUEST_ID'),
  X_RAY_TRACE_ID: Symbol.for('_AWS_LAMBDA_X_RAY_TRACE_ID'),
  TENANT_ID: Symbol.for('_AWS_LAMBDA_TENANT_ID'),
};

let context;

module.exports = {
  PROTECTED_KEYS: KEYS,
  begin(requestId, traceId, tenantId) {
    context = { [KEYS.REQUEST_ID]: requestId, [KEYS.X_RAY_TRACE_ID]: traceId, [KEYS.TENANT_ID]: tenantId };
  },
  store: {
    getContext: () => context,
    hasContext: () => context !== undefined,
    get: (key) => (context === undefined ? undefined : context[key]),
    set(key, value) {
      if (Object.values(KEYS).includes(key)) throw new Error(`Cannot modify protected Lambda context field: ${String(key)}`);
      context = context || {};
      context[key] = value;
    },
    run(within, fn) {
      context = within;
      return fn();
    },
    isProtectedKey: (key) => Object.values(KEYS).includes(key),
    getRequestId: () => (context && context[KEYS.REQUEST_ID]) ?? '-',
    getXRayTraceId: () => (context === undefined ? undefined : context[KEYS.X_RAY_TRACE_ID]),
    getTenantId: () => (context === undefined ? undefined : context[KEYS.TENANT_ID]),
  },
};
