// A JSON list of SOQL texts on stdin -> for each one whether the two parsers accept it.
const fs = require('fs');
const parsers = [require('@jetstreamapp/soql-parser-js'), require('soql-parser-js')];

function accepts(parser, text) {
  try {
    parser.parseQuery(text);
    return true;
  } catch {
    return false;
  }
}

const texts = JSON.parse(fs.readFileSync(0, 'utf8'));
process.stdout.write(JSON.stringify(texts.map((text) => parsers.map((parser) => accepts(parser, text)))));
