// Loaded into a daemon (`node --import …`): the name servers of names under `silent.example` do not answer.
// As with the system's resolver, a lookup of such a name holds a thread of Node's pool for ten seconds.
import { execFileSync } from 'node:child_process';
import dns from 'node:dns';
import { closeSync, constants, openSync, unlinkSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

const HELD_MS = 10_000;

/** Opening a pipe that has no writer waits in a thread. */
const pipe = join(tmpdir(), `runwatch-silent-${process.pid}`);
execFileSync('mkfifo', [pipe]);
process.on('exit', () => unlinkSync(pipe));

const isSilent = (hostname) => hostname.endsWith('.silent.example');

async function held(hostname) {
  setTimeout(() => closeSync(openSync(pipe, constants.O_RDWR | constants.O_NONBLOCK)), HELD_MS);
  await (await open(pipe, 'r')).close();
  throw Object.assign(new Error(`getaddrinfo EAI_AGAIN ${hostname}`), { code: 'EAI_AGAIN' });
}

const { lookup, Resolver } = dns.promises;
dns.promises.lookup = (hostname, options) =>
  isSilent(hostname) ? held(hostname) : lookup(hostname, options);
for (const method of ['resolve4', 'resolve6']) {
  const resolve = Resolver.prototype[method];
  Resolver.prototype[method] = async function (hostname, ...rest) {
    if (!isSilent(hostname)) return resolve.call(this, hostname, ...rest);
    await delay(HELD_MS);
    throw Object.assign(new Error(`queryA ETIMEOUT ${hostname}`), { code: 'ETIMEOUT' });
  };
}
syncBuiltinESMExports();
