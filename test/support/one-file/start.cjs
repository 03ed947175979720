'use strict';
const { existsSync, readFileSync, writeFileSync } = require('node:fs');
const { createRequire, wrap } = require('node:module');
const { join } = require('node:path');
const { Script } = require('node:vm');

// Runs what build.ts puts beside it, with what V8 compiled of that in the first process that ended.
const FILE = join(__dirname, 'runwatch.cjs');
const COMPILED = join(__dirname, 'runwatch.compiled');

const hasCompiled = existsSync(COMPILED);
const script = new Script(wrap(readFileSync(FILE, 'utf8')), {
  filename: FILE,
  ...(hasCompiled && { cachedData: readFileSync(COMPILED) }),
});
if (!hasCompiled) process.on('exit', () => writeFileSync(COMPILED, script.createCachedData()));

const file = { exports: {} };
script.runInThisContext()(file.exports, createRequire(FILE), file, FILE, __dirname);
