import { formatDuration } from '../core/time.ts';
import { isLoopback } from './hosts.ts';
import type { WrittenNames } from './held-part.ts';
import { unknownName, type ConfigProblem } from './problems.ts';
import type { Path } from './schema-walk.ts';
import type { RedisConfig, Config, WebhookEndpointConfig } from './schema.ts';
import type { RuleConfig } from './rule-schema.ts';

/** What only shows when settings are seen together. */
export function crossCheck(config: Config, names: WrittenNames): ConfigProblem[] {
  return [
    ...checkIntervals(config),
    ...checkTokens(config),
    ...checkEndpoints(config),
    ...checkRedis(config),
    ...checkRules(config, names),
  ];
}

/** What would silently mute an endpoint or a token of the daemon. */
export function checkSourceNames(config: Config, names: WrittenNames): ConfigProblem[] {
  return [...checkMatchedSources(config, names), ...checkTokenSources(config, names)];
}

/** What keeps a daemon from starting, though commands may well use the configuration. */
export function checkServing({ server, auth, sources }: Config): ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  if (Object.keys(sources).length === 0) {
    const message =
      'expected at least one source: set NOXUS_API_KEY, or declare an API under sources';
    problems.push({ path: ['sources'], message });
  }
  if (auth.tokens.length === 0 && !isLoopback(server.host)) {
    const message =
      `the server refuses to start on the non-loopback host ${server.host} without a token: ` +
      'set RUNWATCH_API_TOKEN or auth.tokens';
    problems.push({ path: ['server', 'host'], message });
  }
  return problems;
}

function checkIntervals({ polling }: Config): ConfigProblem[] {
  const [least, most] = [polling.min_interval, polling.max_interval];
  if (least <= most) return [];
  const limit = `at most polling.max_interval (${formatDuration(most)})`;
  const message = `expected ${limit}, got ${formatDuration(least)}`;
  return [{ path: ['polling', 'min_interval'], message }];
}

function checkTokens({ auth: { tokens } }: Config): ConfigProblem[] {
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

function checkEndpoints({ endpoints }: Config): ConfigProblem[] {
  return Object.entries(endpoints).flatMap(([name, endpoint]) =>
    endpoint.type === 'webhook' ? checkWebhook(['endpoints', name], endpoint) : [],
  );
}

function checkWebhook(path: Path, webhook: WebhookEndpointConfig): ConfigProblem[] {
  return [...checkHeaders(path, webhook), ...checkTls(path, webhook)];
}

/** Names of headers are the same in capitals, so one of the two would be lost. */
function checkHeaders(path: Path, { headers, auth }: WebhookEndpointConfig): ConfigProblem[] {
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

function checkTls(path: Path, { url, tls = {} }: WebhookEndpointConfig): ConfigProblem[] {
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
function checkMatchedSources({ endpoints }: Config, { sources }: WrittenNames): ConfigProblem[] {
  const known = { what: 'source', names: sources };
  return Object.entries(endpoints).flatMap(([name, { when }]) =>
    (when?.source ?? []).flatMap((source) =>
      unknownName(['endpoints', name, 'when', 'source'], source, known),
    ),
  );
}

/** A source that is misspelt here would be out of the token's reach. */
function checkTokenSources({ auth }: Config, { sources }: WrittenNames): ConfigProblem[] {
  const known = { what: 'source', names: sources };
  return auth.tokens.flatMap((token, index) =>
    token.sources
      .filter((source) => source !== '*')
      .flatMap((source) => unknownName(['auth', 'tokens', index, 'sources'], source, known)),
  );
}

/** What of these settings does not go together. */
export function checkRedis({ redis: settings }: { redis: RedisConfig }): ConfigProblem[] {
  return [
    ...checkWay(settings),
    ...checkMaxMemory(settings),
    ...checkSentinels(settings),
    ...checkRedisTls(settings),
  ];
}

const WAYS = ['url', 'sentinels', 'cluster'] as const;

function checkWay(settings: RedisConfig): ConfigProblem[] {
  const ways = WAYS.filter((key) => settings[key]);
  const [, second] = ways;
  if (second === undefined) return [];
  const message = `expected only one of url (REDIS_URL), sentinels and cluster, got ${ways.join(' and ')}`;
  return [redisProblem(second, message)];
}

/** A Redis elsewhere is not ours to limit. */
function checkMaxMemory(settings: RedisConfig): ConfigProblem[] {
  const way = WAYS.find((key) => settings[key]);
  if (way === undefined || settings.maxmemory === undefined) return [];
  const given = way === 'url' ? 'url (REDIS_URL)' : way;
  const message = `it limits the Redis that the daemon runs itself, and ${given} names another: set maxmemory in the configuration of that server`;
  return [redisProblem('maxmemory', message)];
}

function checkSentinels(settings: RedisConfig): ConfigProblem[] {
  if (settings.sentinels !== undefined) {
    if (settings.name !== undefined) return [];
    return [redisProblem('sentinels', 'expected redis.name, the group that the Sentinels watch')];
  }
  const keys = ['name', 'sentinel_username', 'sentinel_password'] as const;
  return keys.flatMap((key) =>
    settings[key] === undefined ? [] : [redisProblem(key, 'it has no effect without sentinels')],
  );
}

function checkRedisTls({ url, sentinels, cluster, tls: files }: RedisConfig): ConfigProblem[] {
  if (files === undefined) return [];
  const isTls = sentinels !== undefined || cluster !== undefined || url?.startsWith('rediss:');
  if (isTls !== true) return [redisProblem('tls', 'it has no effect, since the url is not rediss')];
  const isPair = (files.cert_file === undefined) === (files.key_file === undefined);
  return isPair ? [] : [redisProblem('tls', 'cert_file and key_file go together')];
}

function redisProblem(key: keyof RedisConfig, message: string): ConfigProblem {
  return { path: ['redis', key], message };
}

/** What of rules, time intervals and inhibitions does not go together. */
export function checkRules(
  { rules, inhibit_rules: inhibits }: Pick<Config, 'rules' | 'inhibit_rules'>,
  written: WrittenNames,
): ConfigProblem[] {
  const names = written.rules && [...new Set(written.rules)];
  return [
    ...rules.flatMap((rule, at) => checkRule(rule, { at, written })),
    ...inhibits.flatMap(({ source_rule: source, target_rule: target }, at) => [
      ...unknownName(['inhibit_rules', at, 'source_rule'], source, { what: 'rule', names }),
      ...unknownName(['inhibit_rules', at, 'target_rule'], target, { what: 'rule', names }),
    ]),
  ];
}

function checkRule(
  rule: RuleConfig,
  { at, written: { rules, intervals } }: { at: number; written: WrittenNames },
): ConfigProblem[] {
  const known = { what: 'time interval', names: intervals };
  const twin: ConfigProblem[] =
    rules === null || rules.indexOf(rule.name) === at
      ? []
      : [{ path: ['rules', at, 'name'], message: `another rule is named ${rule.name}` }];
  return [
    ...twin,
    ...rule.mute_time_intervals.flatMap((name, index) =>
      unknownName(['rules', at, 'mute_time_intervals', index], name, known),
    ),
  ];
}
