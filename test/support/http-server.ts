import { promisify } from 'node:util';
import { configSchema, type PublicArea, type TokenConfig } from '../../src/config/schema.ts';
import { createSealer } from '../../src/deliver/secrets/seal.ts';
import type { Metrics } from '../../src/http/health.ts';
import { createServer, listen, type ServerLimits } from '../../src/http/server.ts';
import { createTokens, type Tokens } from '../../src/http/tokens.ts';
import { testDaemon } from './daemon.ts';
import { fakeServices, servicesOf, type FakeServices } from './fake-services.ts';

interface LogLine {
  level: 'debug' | 'info' | 'error';
  fields: Record<string, unknown>;
  message: string;
}

/** A listening HTTP API over services in memory. */
export interface TestServer {
  url: string;
  services: FakeServices;
  lines: LogLine[];
  fetch: (path: string, init?: RequestInit) => Promise<Response>;
  post: (path: string, body: unknown) => Promise<Response>;
  /** How many connections are open. */
  connections: () => Promise<number>;
  close: () => Promise<void>;
}

type GivenToken = Omit<TokenConfig, 'sources'> & Partial<Pick<TokenConfig, 'sources'>>;

interface TestServerOptions {
  /** Good for all sources unless they say otherwise. */
  tokens?: Tokens | readonly GivenToken[];
  /** What needs no token. */
  public?: PublicArea[];
  publicUrl?: string | undefined;
  metrics?: Metrics;
  stopping?: AbortSignal;
  isStoreReady?: () => boolean;
  limits?: Partial<ServerLimits>;
}

/** For servers whose cursors no other process has to read. */
const TEST_SEALER = createSealer([Buffer.alloc(32, 3)]);

export async function startServer({
  tokens = [],
  public: open = ['metrics', 'docs'],
  publicUrl,
  metrics,
  stopping = new AbortController().signal,
  isStoreReady = () => true,
  limits,
}: TestServerOptions = {}): Promise<TestServer> {
  const services = fakeServices();
  const lines: LogLine[] = [];
  const keep = (level: LogLine['level']) => (fields: object, message: string) => {
    lines.push({ level, fields: { ...fields }, message });
  };
  const daemon = testDaemon({
    config: configSchema.parse({
      data_dir: '/nowhere',
      auth: { public: open },
      server: publicUrl === undefined ? {} : { public_url: publicUrl },
    }),
    version: '1.2.3',
    tokens:
      'find' in tokens && 'replace' in tokens
        ? tokens
        : createTokens(tokens.map((token) => ({ sources: ['*'], ...token }))),
    secrets: { sealer: TEST_SEALER },
    stores: { endedSessions: services.endedSessions },
    connections: {
      state: () => (isStoreReady() ? { kind: 'ok' } : { kind: 'away', reason: 'it is down' }),
    },
  });
  const log = { debug: keep('debug'), info: keep('info'), error: keep('error') };
  Object.assign(daemon, { log, metrics });
  const app = createServer(daemon, servicesOf(services), stopping, limits);
  const url = await listen(app, { host: '127.0.0.1', port: 0 });
  return {
    url,
    services,
    lines,
    fetch: (path, init) => fetch(`${url}${path}`, init),
    post: (path, body) =>
      fetch(`${url}${path}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      }),
    connections: promisify(app.server.getConnections.bind(app.server)),
    close: () => app.close(),
  };
}
