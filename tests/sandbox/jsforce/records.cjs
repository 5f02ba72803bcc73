// Rows, queries, collections, composite, bulk and files, through every call of jsforce that writes or reads them.
const { Connection } = require('jsforce');
const { step, print, given } = require('./tour.cjs');

const conn = new Connection({ instanceUrl: given.url, accessToken: given.accessToken, version: given.version });
const { account, contact } = { account: conn.sobject('Account'), contact: conn.sobject('Contact') };

function lines(stream) {
  return new Promise((resolve, reject) => {
    const rows = [];
    stream.on('record', (row) => rows.push(row));
    stream.on('end', () => resolve(rows));
    stream.on('error', reject);
  });
}

(async () => {
  let id;
  await step('create', async () => {
    const made = await account.create({ Name: 'Acme', AnnualRevenue: 5 });
    id = made.id;
    return { success: made.success, errors: made.errors };
  });
  await step('retrieve', async () => (await account.retrieve(id)).AnnualRevenue);
  await step('update', async () => (await account.update({ Id: id, Name: 'Acme Inc' })).success);
  await step('an unknown field', () => account.create({ Nope__c: 1 }));
  await step('create many', async () => (await account.create([{ Name: 'A' }, { Name: 'B' }, { Nope: 1 }])).map((row) => row.success));
  await step('all or none', async () =>
    (await account.create([{ Name: 'C' }, { Nope: 1 }], { allOrNone: true })).map((row) => row.errors[0].statusCode || row.errors[0].errorCode));
  await step('upsert', async () => {
    const first = await contact.upsert({ Email: 'ann@example.com', LastName: 'Ann', AccountId: id }, 'Email');
    const again = await contact.upsert({ Email: 'ANN@example.com', LastName: 'Ann Lee' }, 'Email');
    return [first.created, again.created, first.id === again.id];
  });
  await step('upsert many', async () => {
    const rows = [{ Email: 'ann@example.com', LastName: 'Ann' }, { Email: 'bob@example.com', LastName: 'Bob', AccountId: id }];
    return (await contact.upsert(rows, 'Email')).map((row) => row.created);
  });
  await step('query', async () => {
    const found = await conn.query("SELECT Id, Name, (SELECT LastName FROM Contacts ORDER BY LastName) FROM Account WHERE Name = 'acme inc'");
    return [found.totalSize, found.done, found.records[0].Name, found.records[0].Contacts.records.map((row) => row.LastName)];
  });
  await step('query more', async () => {
    const first = await conn.query('SELECT Name FROM Account ORDER BY Name');
    const second = await conn.queryMore(first.nextRecordsUrl);
    return [first.records.length, first.done, second.records.length, second.done];
  });
  await step('fetch everything', async () =>
    (await conn.query('SELECT Name FROM Account ORDER BY Name', { autoFetch: true, maxFetch: 100 })).records.map((row) => row.Name));
  await step('find', async () => (await contact.find({ LastName: { $like: 'A%' } }, 'LastName').limit(5)).map((row) => row.LastName));
  await step('count', () => account.count({ Name: { $in: ['A', 'B'] } }));
  await step('aggregate', async () => (await conn.query('SELECT COUNT(Id) n, MAX(Name) FROM Account')).records[0]);
  await step('malformed', () => conn.query('SELECT'));
  await step('many by id', async () => {
    const ids = (await contact.find({}, 'Id')).map((row) => row.Id);
    const rows = await contact.retrieve(ids);
    const changed = await contact.update(rows.map((row) => ({ Id: row.Id, Title: 'Boss' })));
    return [rows.length, changed.map((row) => row.success)];
  });
  await step('composite', async () => {
    const base = `/services/data/v${given.version}`;
    const made = await conn.requestPost(`${base}/composite`, {
      allOrNone: true,
      compositeRequest: [
        { method: 'POST', url: `${base}/sobjects/Account`, referenceId: 'made', body: { Name: 'Composite' } },
        { method: 'GET', url: `${base}/sobjects/Account/@{made.id}?fields=Name`, referenceId: 'read' },
      ],
    });
    return made.compositeResponse.map((part) => part.httpStatusCode);
  });
  await step('tree', async () => {
    const row = { attributes: { type: 'Account', referenceId: 'a' }, Name: 'Tree', Contacts: { records: [{ attributes: { type: 'Contact', referenceId: 'c' }, LastName: 'Leaf' }] } };
    const made = await conn.requestPost(`/services/data/v${given.version}/composite/tree/Account`, { records: [row] });
    return [made.hasErrors, made.results.length];
  });
  await step('bulk ingest', async () => {
    const made = await conn.bulk2.loadAndWaitForResults({ object: 'Account', operation: 'insert', input: [{ Name: 'Bulk 1' }, { Name: 'Bulk, "2"' }] });
    return [made.successfulResults.map((row) => [row.sf__Created, row.Name]), made.failedResults, made.unprocessedRecords];
  });
  await step('bulk upsert', async () => {
    const input = 'Email,LastName\nann@example.com,Annie\nnobody@example.com,\n';
    const made = await conn.bulk2.loadAndWaitForResults({ object: 'Contact', operation: 'upsert', externalIdFieldName: 'Email', input });
    return made.successfulResults.map((row) => row.sf__Created);
  });
  await step('bulk query', async () => lines(await conn.bulk2.query("SELECT Name, CreatedDate FROM Account WHERE Name LIKE 'Bulk%' ORDER BY Name")));
  await step('bulk query refused', () => conn.bulk2.query('SELECT COUNT() FROM Account'));
  await step('file', async () => {
    const made = await conn.sobject('ContentVersion').create({ Title: 'f', PathOnClient: 'f.txt', VersionData: Buffer.from('hello').toString('base64'), FirstPublishLocationId: id });
    const chunks = [];
    for await (const chunk of conn.sobject('ContentVersion').record(made.id).blob('VersionData')) chunks.push(chunk);
    const links = await conn.query(`SELECT ShareType FROM ContentDocumentLink WHERE LinkedEntityId = '${id}'`);
    return [Buffer.concat(chunks).toString(), links.totalSize];
  });
  await step('deleted', async () => {
    const made = await account.create({ Name: 'Gone' });
    await account.destroy(made.id);
    const window = [new Date(Date.now() - 3600e3).toISOString(), new Date(Date.now() + 3600e3).toISOString()];
    const [gone, changed] = [await account.deleted(...window), await account.updated(...window)];
    return [gone.deletedRecords.map((row) => row.id === made.id), changed.ids.includes(id)];
  });
  await step('a deleted row', () => account.retrieve('001000000000009AAA'));
  await step('delete many', async () => {
    const ids = (await account.find({ Name: { $like: 'Bulk%' } }, 'Id')).map((row) => row.Id);
    return (await account.destroy([...ids, '001000000000009AAA'])).map((row) => row.success);
  });
  await step('query all', async () => (await conn.query("SELECT Name FROM Account WHERE Name = 'Gone'", { scanAll: true })).records.map((row) => row.Name));
  print();
})();
