// jsforce: fetch and parse only, page by page (node).  usage: node jsforce_fetch.js N [URL] [NODE_DIR, where `npm i jsforce` was run]
const path = require('path'); const [N, url = 'http://127.0.0.1:21200', dir = path.join(__dirname, '..', 'venvs', 'node')] = process.argv.slice(2);
const jsforce = require(require.resolve('jsforce', { paths: [path.resolve(dir)] }));
(async () => {
  const c = new jsforce.Connection({ instanceUrl: url, accessToken: 't', version: '66.0' }); let n = 0;
  let r = await c.query('SELECT x FROM y LIMIT ' + N);
  for (;;) { n += r.records.length; if (r.done) break; r = await c.queryMore(r.nextRecordsUrl); }
  console.log(n); process.exitCode = n === +N ? 0 : 1;
})().catch(e => { console.error(e); process.exitCode = 1; });
