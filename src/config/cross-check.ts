import { formatDuration } from '../core/time.ts';
import { isLoopback, isInClear, isLinkLocal } from './hosts.ts';
import { SYSTEM_EVENT_TYPES } from '../core/event/event.ts';
import { ruleWants } from '../core/event/patterns.ts';
import { namesOfWorkflows, unknownOwners } from './advise-names.ts';
import { adviseOnInhibition, adviseOnRules } from './advise-rules.ts';
import type { WrittenNames } from './held-part.ts';
import { unknownName, type Finding } from './problems.ts';
import type { Path } from './schema-walk.ts';
import type { RedisConfig, Config, WebhookEndpointConfig } from './schema.ts';
import type { RuleConfig } from './rule-schema.ts';

/** What only shows when settings are seen together. */
export function crossCheck(config: Config, names: WrittenNames): Finding[] {
  return [
    ...checkIntervals(config),
    ...checkTokens(config),
    ...checkEndpoints(config),
    ...checkRedis(config),
    ...checkRules(config, names),
  ];
}

/** What would silently mute an endpoint or a token of the daemon. */
export function checkSourceNames(config: Config, names: WrittenNames): Finding[] {
  return [...checkMatchedSources(config, names), ...checkTokenSources(config, names)];
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

function checkEndpoints({ endpoints }: Config): Finding[] {
  return Object.entries(endpoints).flatMap(([name, endpoint]) =>
    endpoint.type === 'webhook' ? checkWebhook(['endpoints', name], endpoint) : [],
  );
}

function checkWebhook(path: Path, webhook: WebhookEndpointConfig): Finding[] {
  return [...checkHeaders(path, webhook), ...checkTls(path, webhook)];
}

/** Names of headers are the same in capitals, so one of the two would be lost. */
function checkHeaders(path: Path, { headers, auth }: WebhookEndpointConfig): Finding[] {
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

function checkTls(path: Path, { url, tls = {} }: WebhookEndpointConfig): Finding[] {
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
function checkMatchedSources({ endpoints }: Config, { sources }: WrittenNames): Finding[] {
  const known = { what: 'source', names: sources };
  return Object.entries(endpoints).flatMap(([name, { when }]) =>
    (when?.source ?? []).flatMap((source) =>
      unknownName(['endpoints', name, 'when', 'source'], source, known),
    ),
  );
}

/** A source that is misspelt here would be out of the token's reach. */
function checkTokenSources({ auth }: Config, { sources }: WrittenNames): Finding[] {
  const known = { what: 'source', names: sources };
  return auth.tokens.flatMap((token, index) =>
    token.sources
      .filter((source) => source !== '*')
      .flatMap((source) => unknownName(['auth', 'tokens', index, 'sources'], source, known)),
  );
}

/** What of these settings does not go together. */
export function checkRedis({ redis: settings }: { redis: RedisConfig }): Finding[] {
  return [...checkWay(settings), ...checkSentinels(settings), ...checkRedisTls(settings)];
}

function checkWay(settings: RedisConfig): Finding[] {
  const ways = (['url', 'sentinels', 'cluster'] as const).filter((key) => settings[key]);
  const [, second] = ways;
  if (second === undefined) return [];
  const message = `expected only one of url (REDIS_URL), sentinels and cluster, got ${ways.join(' and ')}`;
  return [redisFinding(second, message)];
}

function checkSentinels(settings: RedisConfig): Finding[] {
  if (settings.sentinels !== undefined) {
    if (settings.name !== undefined) return [];
    return [redisFinding('sentinels', 'expected redis.name, the group that the Sentinels watch')];
  }
  const keys = ['name', 'sentinel_username', 'sentinel_password'] as const;
  return keys.flatMap((key) =>
    settings[key] === undefined ? [] : [redisFinding(key, 'it has no effect without sentinels')],
  );
}

function checkRedisTls({ url, sentinels, cluster, tls: files }: RedisConfig): Finding[] {
  if (files === undefined) return [];
  const isTls = sentinels !== undefined || cluster !== undefined || url?.startsWith('rediss:');
  if (isTls !== true) return [redisFinding('tls', 'it has no effect, since the url is not rediss')];
  const isPair = (files.cert_file === undefined) === (files.key_file === undefined);
  return isPair ? [] : [redisFinding('tls', 'cert_file and key_file go together')];
}

function redisFinding(key: keyof RedisConfig, message: string): Finding {
  return { path: ['redis', key], message };
}

/** What is valid and yet will not work, or not as safely as it could, each with its cure. */
export function adviseOn(config: Config): Finding[] {
  return [
    ...unreachableEndpoints(config),
    ...unusedEndpoints(config),
    ...endpointsOfNames(config),
    ...unknownOwners(config),
    ...secretsInClear(config),
    ...adviseOnRules(config),
    ...adviseOnInhibition(config),
  ];
}

function unreachableEndpoints({ endpoints }: Config): Finding[] {
  return Object.entries(endpoints).flatMap(([name, endpoint]) => {
    const [key, host] = hostOf(endpoint);
    if (host === null || !isLinkLocal(host)) return [];
    const message =
      'runwatch connects to no link-local address, so every delivery would fail: ' +
      'give another address of the receiver';
    return [{ path: ['endpoints', name, key], message }];
  });
}

/** Endpoints that are sent nothing unless a watch names them; `default: false` says that watches do. */
function unusedEndpoints({ endpoints, rules }: Config): Finding[] {
  const all = Object.entries(endpoints);
  if (all.every(([, endpoint]) => endpoint.default !== true)) return [];
  const byRules = new Set(
    rules.flatMap(({ notify, escalate }) => [
      ...notify,
      ...escalate.flatMap((step) => step.notify),
    ]),
  );
  return all.flatMap(([name, endpoint]) => {
    const { events = [], default: isDefault } = endpoint;
    const named = events.filter((pattern) => pattern !== '*');
    const isTold = SYSTEM_EVENT_TYPES.some((type) => ruleWants(named, type));
    if (isDefault !== undefined || byRules.has(name) || isTold) return [];
    const message =
      'no rule notifies it, and it is not among the defaults, so only a watch that names it sends to it: ' +
      'set default: true, name it in a rule, or set default: false where watches name it';
    return [{ path: ['endpoints', name], message }];
  });
}

function endpointsOfNames(config: Config): Finding[] {
  return Object.entries(config.endpoints).flatMap(([name, { when }]) =>
    namesOfWorkflows(['endpoints', name, 'when'], when, config),
  );
}

/** The host of an endpoint, and the setting that has it. */
function hostOf(endpoint: Config['endpoints'][string]): [key: 'url' | 'host', string | null] {
  const { url, host = null } = endpoint as { url?: string; host?: string };
  return url === undefined ? ['host', host] : ['url', new URL(url).hostname];
}

function secretsInClear({ sources, server }: Config): Finding[] {
  const findings = Object.entries(sources)
    .filter(([, { base_url: url }]) => isInClear(url))
    .map(([name, { base_url: url }]) => ({
      path: ['sources', name, 'base_url'],
      message: inClear('the API key travels', url),
    }));
  const { public_url: publicUrl } = server;
  if (publicUrl === undefined || !isInClear(publicUrl)) return findings;
  const message = inClear('tokens of the API travel', publicUrl);
  return [...findings, { path: ['server', 'public_url'], message }];
}

function inClear(what: string, url: string): string {
  return `${what} in clear over plain http to ${new URL(url).hostname}: use https`;
}

/** What of rules, time intervals and inhibitions does not go together. */
export function checkRules(
  { rules, inhibit_rules: inhibits }: Pick<Config, 'rules' | 'inhibit_rules'>,
  written: WrittenNames,
): Finding[] {
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
): Finding[] {
  const known = { what: 'time interval', names: intervals };
  const twin: Finding[] =
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

/** What a receiver that verifies has to be given and no configuration shows; null where each has a secret. */
export function derivedSecrets({ endpoints }: Config): string | null {
  const names = Object.entries(endpoints).flatMap(([name, endpoint]) =>
    endpoint.type === 'webhook' && endpoint.secret === undefined ? [name] : [],
  );
  if (names.length === 0) return null;
  return `a secret that is derived from its name signs for ${names.join(', ')}: \`runwatch endpoints secret ${names[0]}\` shows it`;
}
