// Describe, limits, picklists, record types and recent items, as jsforce reads them.
const { Connection } = require('jsforce');
const { step, print, given } = require('./tour.cjs');

const { url, version, accessToken } = given;

async function main() {
  const org = new Connection({ instanceUrl: url, accessToken, version });
  await step('describe global', async () => (await org.describeGlobal()).sobjects.map((each) => each.name));
  await step('describe', async () => {
    const account = await org.sobject('Account').describe();
    const city = account.fields.find((field) => field.name === 'City__c');
    const land = account.fields.find((field) => field.name === 'Land__c');
    const valid = (entry) => {
      const bytes = Buffer.from(entry.validFor, 'base64');
      return land.picklistValues.filter((_, i) => i >> 3 < bytes.length && bytes[i >> 3] & (0x80 >> (i & 7))).map((each) => each.value);
    };
    return {
      objectKeys: Object.keys(account).length,
      fieldKeys: [...new Set(account.fields.map((field) => Object.keys(field).length))],
      recordTypes: account.recordTypeInfos.map((info) => info.developerName),
      cities: Object.fromEntries(city.picklistValues.map((entry) => [entry.value, valid(entry)])),
    };
  });
  await step('describe is cached', async () => {
    await org.sobject('Contact').describe$();
    const before = (await org.request(`${url}/sandbox/calls`)).billed;
    await org.sobject('Contact').describe$();
    return (await org.request(`${url}/sandbox/calls`)).billed - before;
  });
  await step('describe of an unknown object', async () => org.sobject('Nope').describe());
  await step('limits', async () => {
    const limits = await org.limits();
    return { requests: limits.DailyApiRequests.Max, info: org.limitInfo };
  });
  await step('versions', async () => (await org.request(`${url}/services/data`)).length);
  await step('resources', async () => Object.keys(await org.request(`/services/data/v${version}`)));
  await step('record types', async () =>
    (await org.sobject('RecordType').find({ SobjectType: 'Account' }, ['DeveloperName'])).map((row) => row.DeveloperName));
  await step('picklist values', async () => {
    const { Id } = await org.sobject('RecordType').findOne({ DeveloperName: 'Customer' });
    const found = await org.request(`/ui-api/object-info/Account/picklist-values/${Id}/City__c`);
    return found.values.map((entry) => [entry.value, entry.validFor]);
  });
  await step('recent', async () => {
    await org.sobject('Account').create({ Name: 'Newest' });
    return (await org.recent(1)).map((item) => item.Name);
  });
  await step('recent of an object', async () => (await org.sobject('Account').recent()).map((item) => item.Name));
  await step('a duplicate', async () => {
    await org.sobject('Account').create({ Name: 'Acme' });
  });
  await step('a duplicate that is wanted', async () =>
    (await org.sobject('Account').create({ Name: 'Acme' }, { headers: { 'Sforce-Duplicate-Rule-Header': 'allowSave=true' } })).success);
  await step('not emulated', async () => org.request('/tooling/query?q=SELECT+Id+FROM+ApexClass'));
  print();
}

main();
