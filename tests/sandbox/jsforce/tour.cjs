// What the tours share: each step is run by name, its value or its error is printed as one JSON document.
const steps = {};

async function step(name, work) {
  try {
    const value = await work();
    steps[name] = value === undefined ? null : value;
  } catch (error) {
    steps[name] = { error: error.name || error.errorCode, message: error.message };
  }
  return steps[name];
}

function print() {
  process.stdout.write(JSON.stringify(steps));
}

const given = JSON.parse(process.env.TOUR || '{}');

module.exports = { step, print, given };
