import { webhookReceiver } from '../core/delivery/receiver.ts';
import type { InputIssue } from '../core/errors.ts';
import type { Registration, WatchRequest } from '../core/watch/register.ts';
import { watchId, type Subscription, type WatchKey } from '../core/watch/watch.ts';

/** What a request may name, and the rules that its webhook must keep. */
export interface RequestRules {
  sources: readonly string[];
  endpoints: readonly string[];
  /** Who is told where a request names nobody. */
  defaultEndpoints: readonly string[];
  /** Why a webhook may not go to a URL; null when it may. */
  forbids: (url: string) => string | null;
  /** Encrypts what must not lie in Redis in clear. */
  seal: (plain: SealedParts, context: string) => string;
}

/** The parts of a per-watch webhook that are encrypted at rest. */
export interface SealedParts {
  url: string;
  secret?: string;
  headers?: Record<string, string>;
}

/** The source a request means: the one it names, else `default`, else the only one there is. */
function resolveSource(sources: readonly string[], named: string | undefined): string | null {
  const meant = named ?? (sources.includes('default') ? 'default' : onlyOne(sources));
  return meant !== undefined && sources.includes(meant) ? meant : null;
}

function onlyOne(names: readonly string[]): string | undefined {
  return names.length === 1 ? names[0] : undefined;
}

/** Turns a request into a registration, or says all that is wrong with what it names. */
export function resolveRequest(
  request: WatchRequest,
  rules: RequestRules,
): { registration: Registration } | { issues: InputIssue[] } {
  const source = resolveSource(rules.sources, request.source);
  const issues = [
    ...(source === null ? [unknownSource(request.source, rules.sources)] : []),
    ...endpointIssues(request.endpoints ?? [], rules.endpoints),
    ...webhookIssues(request.webhook, rules),
  ];
  if (source === null || issues.length > 0) return { issues };
  const { runId, metadata, timeoutMs, profile, maxDelayMs } = request;
  return {
    registration: {
      source,
      runId,
      subscriptions: subscriptionsOf(request, rules, { source, runId }),
      ...(metadata !== undefined && { metadata }),
      ...(timeoutMs !== undefined && { timeoutMs }),
      ...(profile !== undefined && { profile }),
      ...(maxDelayMs !== undefined && { maxDelayMs }),
    },
  };
}

function unknownSource(named: string | undefined, sources: readonly string[]): InputIssue {
  const expected = `expected one of: ${sources.join(', ')}`;
  return named === undefined
    ? {
        path: 'source',
        message: `several sources are configured and none is the default; ${expected}`,
      }
    : { path: 'source', message: `no source is named "${named}"; ${expected}` };
}

function endpointIssues(named: readonly string[], known: readonly string[]): InputIssue[] {
  return named.flatMap((name, at) =>
    known.includes(name)
      ? []
      : [
          {
            path: `endpoints.${at}`,
            message: `no endpoint is named "${name}"; expected one of: ${known.join(', ')}`,
          },
        ],
  );
}

function webhookIssues(webhook: WatchRequest['webhook'], rules: RequestRules): InputIssue[] {
  if (webhook === undefined) return [];
  const forbidden = rules.forbids(webhook.url);
  return forbidden === null ? [] : [{ path: 'webhook.url', message: forbidden }];
}

function subscriptionsOf(
  { endpoints, webhook }: WatchRequest,
  rules: RequestRules,
  watch: WatchKey,
): Subscription[] {
  const named = endpoints ?? (webhook === undefined ? rules.defaultEndpoints : []);
  return [
    ...[...new Set(named)].map((endpoint) => ({ kind: 'endpoint' as const, endpoint })),
    ...(webhook === undefined ? [] : [webhookSubscription(webhook, rules.seal, watch)]),
  ];
}

function webhookSubscription(
  { url, events, secret, headers }: NonNullable<WatchRequest['webhook']>,
  seal: RequestRules['seal'],
  watch: WatchKey,
): Subscription {
  const parts = {
    url,
    ...(secret !== undefined && { secret }),
    ...(headers !== undefined && { headers }),
  };
  return {
    kind: 'webhook',
    receiver: webhookReceiver(url),
    ...(events !== undefined && { events }),
    sealed: seal(parts, watchId(watch)),
  };
}
