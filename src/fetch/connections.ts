import http, {
  validateHeaderValue,
  type ClientRequest,
  type ClientRequestArgs,
  type OutgoingHttpHeaders,
} from 'node:http';
import https from 'node:https';
import { RunwatchError } from '../core/errors.ts';
import type { SourceHeaders } from '../core/source/port.ts';
import { Names } from '../names.ts';
import { requestTarget, tunnelled } from '../proxy-tunnel.ts';

/** How long an idle connection is kept, ms; a shorter `Keep-Alive` hint of the server wins. */
const IDLE_CONNECTION_MS = 90_000;

/** Where a source is, and how it is reached. */
export interface ConnectionOptions {
  baseUrl: string;
  headers: SourceHeaders;
  userAgent: string;
  /** Most connections at once; requests beyond it wait in line. */
  maxSockets: number;
  /** The authorities that are trusted, in PEM, in place of those that Node knows. */
  ca?: string | undefined;
  /** An HTTP proxy that all connections go through. */
  proxy?: string | undefined;
  /** Shared by all connections of a process. */
  names?: Names | undefined;
}

/** One keep-alive connection pool of a source. */
export interface Connections {
  /** The base URL, with a path that ends in a slash. */
  base: URL;
  /** Makes a request that the caller has to end. Redirects are not followed: the headers go to no other host. */
  request: (url: URL, headers: OutgoingHttpHeaders, method?: string) => ClientRequest;
  /** Closes all connections. */
  close: () => void;
}

/** @throws RunwatchError `invalid_source` when no request could ever be made with these options */
export function openConnections(options: ConnectionOptions): Connections {
  const base = parseBase(options.baseUrl);
  for (const [name, value] of Object.entries(options.headers)) assertHeader(name, value);
  const client = base.protocol === 'https:' ? https : http;
  const agent = withNames(new client.Agent(poolOf(options)), options);
  return {
    base,
    // No more options than it needs: Node copies them several times, and copying all that got offers
    // is a fifth of what a poll costs (`bench -- poll`).
    request: (url, headers, method = 'GET') =>
      client.request({ ...requestTarget(url), agent, headers, method }),
    close: () => agent.destroy(),
  };
}

function poolOf({ maxSockets, ca }: ConnectionOptions): https.AgentOptions {
  return {
    keepAlive: true,
    maxSockets,
    maxFreeSockets: maxSockets,
    timeout: IDLE_CONNECTION_MS,
    ...(ca !== undefined && { ca }),
  };
}

/** Connects by our own names, and through the proxy where there is one. */
function withNames(
  agent: http.Agent,
  { proxy, names = new Names() }: ConnectionOptions,
): http.Agent {
  const own = agent.createConnection.bind(agent);
  const secure = agent instanceof https.Agent;
  agent.createConnection =
    proxy === undefined ? namedConnect(own, names) : tunnelled(own, proxy, { secure, names });
  return agent;
}

function namedConnect(connect: http.Agent['createConnection'], names: Names) {
  return (options: ClientRequestArgs, callback?: OnCreate) => {
    const socket = connect({ ...options, lookup: names.lookupOwn }, callback);
    return socket && names.watched(socket, options.host ?? '');
  };
}

type OnCreate = Parameters<http.Agent['createConnection']>[1];

/** The base as a URL with a path that ends in a slash, without query and fragment. */
function parseBase(baseUrl: string): URL {
  const base = URL.canParse(baseUrl) ? new URL(baseUrl) : null;
  if (base === null || !/^https?:$/.test(base.protocol)) {
    throw new RunwatchError('the base URL of a source must be an http:// or https:// URL', {
      code: 'invalid_source',
    });
  }
  base.search = '';
  base.hash = '';
  base.pathname = base.pathname.replace(/\/*$/, '/');
  return base;
}

function assertHeader(name: string, value: string): void {
  try {
    validateHeaderValue(name, value);
  } catch {
    throw new RunwatchError(`the header ${name} holds characters that no HTTP header can carry`, {
      code: 'invalid_source',
    });
  }
}
