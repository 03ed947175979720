import ipaddr from 'ipaddr.js';
import { formatDuration } from '../core/duration.ts';
import type { Finding } from './problem.ts';
import type { Config } from './schema.ts';

/** What only shows when settings are seen together. */
export function crossCheck(config: Config): Finding[] {
  return [...checkIntervals(config), ...checkTokens(config), ...checkHeaders(config)];
}

/** What keeps a daemon from starting, though commands may well use the configuration. */
export function checkServing({ server, auth, sources }: Config): Finding[] {
  const findings: Finding[] = [];
  if (Object.keys(sources).length === 0) {
    const message = 'expected at least one source with an API key: set NOXUS_API_KEY';
    findings.push({ path: ['sources'], message });
  }
  if (auth.tokens.length === 0 && !isLoopback(server.host)) {
    const message =
      `the server refuses to start on the non-loopback host ${server.host} without a token: ` +
      'set RUNWATCH_API_TOKEN or auth.tokens';
    findings.push({ path: ['server', 'host'], message });
  }
  return findings;
}

/** True for hosts that only this machine can reach. */
function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[(.*)\]$/, '$1');
  if (/^(.+\.)?localhost$/i.test(bare)) return true;
  return ipaddr.isValid(bare) && ipaddr.process(bare).range() === 'loopback';
}

function checkIntervals({ polling }: Config): Finding[] {
  const [least, most] = [polling.min_interval, polling.max_interval];
  if (least <= most) return [];
  const limit = `at most polling.max_interval (${formatDuration(most)})`;
  const message = `expected ${limit}, got ${formatDuration(least)}`;
  return [{ path: ['polling', 'min_interval'], message }];
}

function checkTokens({ auth: { tokens } }: Config): Finding[] {
  return tokens.flatMap(({ name, token }, index) => {
    const earlier = tokens.slice(0, index);
    const path = ['auth', 'tokens', index];
    if (earlier.some((other) => other.name === name)) {
      return [{ path: [...path, 'name'], message: `another token is named ${name}` }];
    }
    const twin = earlier.find((other) => other.token === token);
    if (twin === undefined) return [];
    return [{ path: [...path, 'token'], message: `the token named ${twin.name} is the same` }];
  });
}

/** Names of headers are the same in capitals, so one of the two would be lost. */
function checkHeaders({ endpoints }: Config): Finding[] {
  return Object.entries(endpoints).flatMap(([name, endpoint]) => {
    if (endpoint.type !== 'webhook') return [];
    const names = Object.keys(endpoint.headers);
    const repeated = names.filter((header, index) =>
      names.slice(0, index).some((other) => other.toLowerCase() === header.toLowerCase()),
    );
    const message = 'this header is given twice';
    return repeated.map((header) => ({ path: ['endpoints', name, 'headers', header], message }));
  });
}
