// oidc-provider as a peer of the bench: OpenID CIBA in poll mode, all in memory, one client.
// Arguments: port's TLS key (PEM), TLS certificate (PEM), client secret, signing key (JWK).
// Prints one JSON line when it is ready. POST /approve stands for the owner's other device, for
// which the standard has no interface.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import Provider from 'oidc-provider';

const [keyFile, certificateFile, secret, signingKeyFile] = process.argv.slice(2);
const GRANT = 'urn:openid:params:grant-type:ciba';
const nothing = async () => undefined;

const server = createServer({
  key: readFileSync(keyFile),
  cert: readFileSync(certificateFile),
  minVersion: 'TLSv1.3',
});
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const url = `https://127.0.0.1:${server.address().port}`;

const provider = new Provider(url, {
  clients: [
    {
      client_id: 'bench',
      client_secret: secret,
      grant_types: [GRANT],
      redirect_uris: [],
      response_types: [],
      backchannel_token_delivery_mode: 'poll',
      id_token_signed_response_alg: 'ES256',
      token_endpoint_auth_method: 'client_secret_basic',
    },
  ],
  cookies: { keys: [secret] },
  jwks: { keys: [JSON.parse(readFileSync(signingKeyFile))] },
  findAccount: (_ctx, id) => ({ accountId: id, claims: async () => ({ sub: id }) }),
  features: {
    devInteractions: { enabled: false },
    ciba: {
      enabled: true,
      deliveryModes: ['poll'],
      processLoginHint: async (_ctx, hint) => hint,
      triggerAuthenticationDevice: nothing,
      validateBindingMessage: nothing,
      validateRequestContext: nothing,
      verifyUserCode: nothing,
    },
  },
});

async function approve(id) {
  const request = await provider.BackchannelAuthenticationRequest.find(id);
  const grant = new provider.Grant({ accountId: request.accountId, clientId: 'bench' });
  grant.addOIDCScope('openid');
  await grant.save();
  await provider.backchannelResult(request, grant);
}

provider.use(async (ctx, next) => {
  if (ctx.method !== 'POST' || ctx.path !== '/approve') {
    await next();
    return;
  }
  let id = '';
  for await (const piece of ctx.req) id += piece;
  await approve(id);
  ctx.status = 204;
});

server.on('request', provider.callback());
console.log(JSON.stringify({ url }));
