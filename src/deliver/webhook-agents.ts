import http, { type AgentOptions, type ClientRequestArgs } from 'node:http';
import https from 'node:https';
import type { Duplex } from 'node:stream';
import { got, type Got } from 'got';
import { egressBlocked, type EgressGuard } from './egress-guard.ts';

/** The connections of all webhooks, kept alive and shared by every channel to the same origin. */
export interface WebhookAgents {
  readonly http: http.Agent;
  readonly https: https.Agent;
  /** Sends over them: redirects are not followed, nothing is decompressed, nothing is retried. */
  readonly client: Got;
  /** Closes every connection, also those in use: drain first. */
  close(): void;
}

const MAX_HEADER_BYTES = 16_384;

/**
 * Limits per origin; idle connections close before common servers would close them (5 s). As many are
 * kept as a receiver has slots: connecting anew is a third of what an attempt costs.
 */
const LIMITS: AgentOptions = {
  keepAlive: true,
  maxSockets: 1_024,
  maxFreeSockets: 128,
  timeout: 4_000,
};

/**
 * Agents that ask the guard at the moment of connecting, so that nothing which uses them can get
 * around it. Proxy settings of the environment are not honoured: a proxy would resolve the name again.
 */
export function createWebhookAgents(guard: EgressGuard, limits = LIMITS): WebhookAgents {
  const agents = { http: new http.Agent(limits), https: new https.Agent(limits) };
  guardConnections(agents.http, { guard, secure: false });
  guardConnections(agents.https, { guard, secure: true });
  const client = got.extend({
    agent: agents,
    followRedirect: false,
    decompress: false,
    throwHttpErrors: false,
    retry: { limit: 0 },
    maxHeaderSize: MAX_HEADER_BYTES,
  });
  return {
    ...agents,
    client,
    close() {
      agents.http.destroy();
      agents.https.destroy();
    },
  };
}

/** As Node calls it: no socket comes with an error, which its type does not say. */
type OnCreate = (error: Error | null, socket?: Duplex) => void;

/** A `lookup` alone would not do: Node does not call it for a host that is an address. */
function guardConnections(
  agent: http.Agent,
  { guard, secure }: { guard: EgressGuard; secure: boolean },
): void {
  const connect = agent.createConnection.bind(agent);
  agent.createConnection = (options: ClientRequestArgs, callback) => {
    const target = { secure, host: options.host ?? '', port: Number(options.port) };
    const verdict = guard.checkTarget(target);
    if (verdict.allowed) return connect({ ...options, lookup: guard.lookup(target) }, callback);
    (callback as OnCreate | undefined)?.(egressBlocked(verdict.message));
    return null;
  };
}
