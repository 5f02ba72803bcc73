// Every login flow that jsforce has beside SOAP, what happens when a session ends, and who one is.
const { Connection, OAuth2 } = require('jsforce');
const { step, print, given } = require('./tour.cjs');

const { url, version, callback, username, password, assertion } = given;
const app = (clientId, more = {}) => ({
  loginUrl: url,
  clientId,
  clientSecret: 's3cret',
  redirectUri: callback,
  ...more,
});

// A browser that is sent back to the client: the code is in the address.
async function codeFrom(address) {
  const response = await fetch(address, { redirect: 'manual' });
  const back = new URL(response.headers.get('location'));
  return { code: back.searchParams.get('code'), error: back.searchParams.get('error'), state: back.searchParams.get('state') };
}

async function main() {
  const web = new Connection({ oauth2: app('web'), version });
  await step('authorize', async () => {
    const { code, state } = await codeFrom(web.oauth2.getAuthorizationUrl({ scope: 'api id refresh_token', state: 'mine' }));
    const user = await web.authorize(code);
    return { state, refresh: typeof web.refreshToken, instance: web.instanceUrl, user: user.id };
  });
  await step('query', async () => (await web.query('SELECT Name FROM Account')).records.map((row) => row.Name));
  await step('identity', async () => (await web.identity()).username);
  await step('userinfo', async () => (await web.request(`${url}/services/oauth2/userinfo`)).preferred_username);

  await step('refresh on a session that ended', async () => {
    let refreshes = 0;
    const lost = new Connection({ oauth2: app('web'), instanceUrl: url, accessToken: 'gone', refreshToken: web.refreshToken, version });
    lost.on('refresh', () => { refreshes += 1; });
    const found = await lost.query('SELECT Id FROM Account');
    return { refreshes, total: found.totalSize };
  });

  await step('a rotated refresh token', async () => {
    const rotating = new Connection({ oauth2: app('rotating'), version });
    await rotating.authorize((await codeFrom(rotating.oauth2.getAuthorizationUrl({ scope: 'api refresh_token' }))).code);
    const first = rotating.refreshToken;
    const answer = await rotating.oauth2.refreshToken(first);
    const again = await rotating.oauth2.refreshToken(first).catch((error) => `${error.name}: ${error.message}`);
    return { changed: answer.refresh_token !== first, again };
  });

  await step('pkce', async () => {
    const strict = new Connection({ oauth2: app('strict', { useVerifier: true }), version });
    await strict.authorize((await codeFrom(strict.oauth2.getAuthorizationUrl({ scope: 'api' }))).code);
    return (await strict.query('SELECT COUNT() FROM Account')).totalSize;
  });
  await step('pkce with a wrong verifier', async () => {
    const strict = new OAuth2(app('strict', { useVerifier: true }));
    const { code } = await codeFrom(strict.getAuthorizationUrl({ scope: 'api' }));
    strict.codeVerifier = 'w'.repeat(43);
    return strict.requestToken(code);
  });
  await step('without pkce', async () => (await codeFrom(new OAuth2(app('strict')).getAuthorizationUrl({}))).error);
  await step('a code twice', async () => {
    const once = new OAuth2(app('web'));
    const { code } = await codeFrom(once.getAuthorizationUrl({}));
    await once.requestToken(code);
    return once.requestToken(code);
  });

  await step('password', async () => {
    const old = new Connection({ oauth2: app('web'), version });
    const user = await old.login(username, password);
    return { user: user.id, limits: (await old.limits()).DailyApiRequests.Max };
  });
  await step('a wrong password', async () => new Connection({ oauth2: app('web'), version }).login(username, 'wrong'));
  await step('client credentials', async () => {
    const job = new Connection({ oauth2: app('web'), version });
    await job.authorize({ grant_type: 'client_credentials' });
    return (await job.identity()).username;
  });
  await step('jwt bearer', async () => {
    const job = new Connection({ oauth2: app('job'), version });
    await job.authorize({ grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer', assertion });
    return (await job.identity()).username;
  });
  await step('logout', async () => {
    const token = web.accessToken;
    await web.logout();
    return new Connection({ instanceUrl: url, accessToken: token, version }).query('SELECT Id FROM Account');
  });
  print();
}

main();
