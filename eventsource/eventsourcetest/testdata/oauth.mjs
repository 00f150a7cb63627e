// An OpenID provider that gives tokens to the client lambda, as signed JWTs for the audience that it asks for.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [packages, port, ttl] = process.argv.slice(2);
const from = createRequire(packages + '/node_modules/');
const { default: Provider } = await import(pathToFileURL(from.resolve('oidc-provider')));

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{
    client_id: 'lambda', client_secret: 'secret', grant_types: ['client_credentials'], redirect_uris: [], response_types: [],
    token_endpoint_auth_method: 'client_secret_basic',
  }],
  scopes: ['read'],
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: (ctx) => ctx.oidc.body.audience || 'urn:nobody',
      getResourceServerInfo: (ctx, resource) => ({
        scope: 'read', audience: resource, accessTokenFormat: 'jwt', accessTokenTTL: Number(ttl), jwt: { sign: { alg: 'RS256' } },
      }),
    },
  },
});
provider.listen(Number(port), '127.0.0.1');
