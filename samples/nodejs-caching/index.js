// Answers with what ORIGIN says, by the caching extension (`thaw layer install cache`), so that no request waits for it:
// the extension has it from the snapshot on, asks for it anew in each copy, and ahead of its end while the function is in use.
const http = require('node:http');

// The session token opens the extension; under SnapStart, where the variables have none, the token of the credentials does.
const token = process.env.AWS_SESSION_TOKEN || process.env.AWS_CONTAINER_AUTHORIZATION_TOKEN;
const port = process.env.PARAMETERS_SECRETS_EXTENSION_HTTP_PORT || 2773;
const path = `/thaw/http?url=${encodeURIComponent(process.env.ORIGIN)}`;

function load() {
  return new Promise((resolve, reject) => {
    http.get({ port, path, agent: false, headers: { 'X-Aws-Parameters-Secrets-Token': token } }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (part) => { text += part; });
      response.on('end', () => resolve({
        status: response.statusCode, text, how: response.headers['x-thaw-cache'], age: Number(response.headers.age),
      }));
      response.on('error', reject);
    }).on('error', reject);
  });
}

// On AWS, and where the function has no SnapStart, there are no hooks, and the first request waits.
if (globalThis.awslambda?.snapStart) awslambda.snapStart.beforeCheckpoint(load);

exports.handler = load;
