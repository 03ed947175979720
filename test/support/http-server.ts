import { promisify } from 'node:util';
import type { TokenConfig } from '../../src/config/schema.ts';
import { createSealer } from '../../src/deliver/secrets/seal.ts';
import { createServer, listen, type ServerOptions } from '../../src/http/server.ts';
import { createTokens, type Tokens } from '../../src/http/tokens.ts';
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

interface TestServerOptions extends Partial<Omit<ServerOptions, 'tokens'>> {
  /** Good for all sources unless they say otherwise. */
  tokens?: Tokens | readonly GivenToken[];
}

/** For servers whose cursors no other process has to read. */
const TEST_SEALER = createSealer([Buffer.alloc(32, 3)]);

export async function startServer({
  tokens = [],
  ...options
}: TestServerOptions = {}): Promise<TestServer> {
  const services = fakeServices();
  const lines: LogLine[] = [];
  const keep = (level: LogLine['level']) => (fields: object, message: string) => {
    lines.push({ level, fields: { ...fields }, message });
  };
  const app = createServer({
    services: servicesOf(services),
    tokens:
      'find' in tokens && 'replace' in tokens
        ? tokens
        : createTokens(tokens.map((token) => ({ sources: ['*'], ...token }))),
    sealer: TEST_SEALER,
    public: ['metrics', 'docs'],
    version: '1.2.3',
    log: { debug: keep('debug'), info: keep('info'), error: keep('error') },
    isDraining: () => false,
    isStoreReady: () => true,
    ...options,
  });
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
