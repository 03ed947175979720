import { formatDuration } from '../core/duration.ts';
import { isLoopback } from './hosts.ts';
import type { ObservationDraft, Path } from './problem.ts';
import { checkRedis } from './redis.ts';
import type { Config, WebhookEndpointConfig } from './schema.ts';
import { suggest } from './suggest.ts';

/** What only shows when settings are seen together. */
export function crossCheck(config: Config): ObservationDraft[] {
  return [
    ...checkIntervals(config),
    ...checkTokens(config),
    ...checkEndpoints(config),
    ...checkRedis(config),
  ];
}

/** What keeps a daemon from starting, though commands may well use the configuration. */
export function checkServing(config: Config): ObservationDraft[] {
  const { server, auth, sources } = config;
  const findings: ObservationDraft[] = checkMatchedSources(config);
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

function checkIntervals({ polling }: Config): ObservationDraft[] {
  const [least, most] = [polling.min_interval, polling.max_interval];
  if (least <= most) return [];
  const limit = `at most polling.max_interval (${formatDuration(most)})`;
  const message = `expected ${limit}, got ${formatDuration(least)}`;
  return [{ path: ['polling', 'min_interval'], message }];
}

function checkTokens({ auth: { tokens } }: Config): ObservationDraft[] {
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

function checkEndpoints({ endpoints }: Config): ObservationDraft[] {
  return Object.entries(endpoints).flatMap(([name, endpoint]) =>
    endpoint.type === 'webhook' ? checkWebhook(['endpoints', name], endpoint) : [],
  );
}

function checkWebhook(path: Path, webhook: WebhookEndpointConfig): ObservationDraft[] {
  return [...checkHeaders(path, webhook), ...checkTls(path, webhook)];
}

/** Names of headers are the same in capitals, so one of the two would be lost. */
function checkHeaders(path: Path, { headers, auth }: WebhookEndpointConfig): ObservationDraft[] {
  const names = Object.keys(headers);
  return names.flatMap((header, index) => {
    const isSame = (other: string) => other.toLowerCase() === header.toLowerCase();
    const found = (message: string) => [{ path: [...path, 'headers', header], message }];
    if (names.slice(0, index).some(isSame)) return found('this header is given twice');
    if (auth !== undefined && isSame('authorization'))
      return found('auth sets this header already');
    return [];
  });
}

function checkTls(path: Path, { url, tls = {} }: WebhookEndpointConfig): ObservationDraft[] {
  const at = [...path, 'tls'];
  const { cert_file: certificate, key_file: key } = tls;
  if ((certificate === undefined) !== (key === undefined)) {
    const missing = key === undefined ? 'key_file' : 'cert_file';
    return [{ path: [...at, missing], message: 'cert_file and key_file go together' }];
  }
  if (Object.keys(tls).length === 0 || url.startsWith('https:')) return [];
  return [{ path: at, message: 'it has no effect, since the url is not https' }];
}

/** A source that is misspelt here would never match, and silently mute the endpoint. */
function checkMatchedSources({ endpoints, sources }: Config): ObservationDraft[] {
  const known = { what: 'source', names: Object.keys(sources) };
  return Object.entries(endpoints).flatMap(([name, { when }]) =>
    (when?.source ?? []).flatMap((source) =>
      unknownName(['endpoints', name, 'when', 'source'], source, known),
    ),
  );
}

function unknownName(
  path: Path,
  name: string,
  { what, names }: { what: string; names: readonly string[] },
): ObservationDraft[] {
  if (names.includes(name)) return [];
  const meant = suggest(name, names);
  const hint = meant === null ? '' : ` (did you mean ${meant}?)`;
  return [{ path, message: `no ${what} is named ${JSON.stringify(name)}${hint}` }];
}
