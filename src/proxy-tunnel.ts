import { once } from 'node:events';
import http from 'node:http';
import type { ClientRequestArgs, IncomingMessage } from 'node:http';
import https from 'node:https';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { callbackify } from 'node:util';
import { RunwatchError } from './core/errors.ts';
import type { Names } from './names.ts';

/** The most time for a tunnel to open, and then for the handshake in it, ms; requests have deadlines too. */
const OPEN_MS = 30_000;

type Connect = http.Agent['createConnection'];

/**
 * A connector that opens each connection through an HTTP proxy, by CONNECT for plain http too, so that
 * the proxy sees nothing but the host and port of it.
 * @param connect the agent's own connector; over TLS it makes the handshake inside the tunnel
 * @param proxy http:// or https://; a user name and password in it go to the proxy alone
 */
export function tunnelled(
  connect: Connect,
  proxy: string,
  { secure, names }: { secure: boolean; names: Names },
): Connect {
  return (options, callback) => {
    const opened = openTunnel(new URL(proxy), authorityOf(options), names);
    const ready = secure
      ? opened.then((socket) => encrypt(connect, { ...options, socket } as ClientRequestArgs))
      : opened;
    callbackify(() => ready)(callback ?? ignore);
    return null;
  };
}

const ignore = () => undefined;

/**
 * Ends a request, also while a proxy opens its connection. Until that is open, Node would not say that the
 * request is over.
 */
export function cutRequest(request: http.ClientRequest): void {
  request.destroy();
  if (request.socket === null) request.emit('close');
}

/** Makes the handshake before the request gets the connection: its first byte must not wait behind it. */
async function encrypt(connect: Connect, options: ClientRequestArgs): Promise<Duplex> {
  const encrypted = connect(options) as TLSSocket;
  try {
    await once(encrypted, 'secureConnect', { signal: AbortSignal.timeout(OPEN_MS) });
    return encrypted;
  } catch (error) {
    encrypted.on('error', ignore).destroy();
    throw error;
  }
}

/**
 * Source: RFC 9110, section 9.3.6.
 * Throws RunwatchError `proxy`.
 */
async function openTunnel(proxy: URL, authority: string, names: Names): Promise<Duplex> {
  const isSecure = proxy.protocol === 'https:';
  const request = (isSecure ? https : http).request({
    method: 'CONNECT',
    host: proxy.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: proxy.port === '' ? (isSecure ? 443 : 80) : Number(proxy.port),
    path: authority,
    headers: { host: authority, ...authorizationFor(proxy) },
    agent: false,
    lookup: names.lookupOwn,
    signal: AbortSignal.timeout(OPEN_MS),
  });
  request.once('socket', (socket) => names.watched(socket, proxy.hostname));
  request.end();
  try {
    const [response, socket, head] = (await once(request, 'connect')) as Connected;
    if (response.statusCode === 200) {
      if (head.length > 0) socket.unshift(head);
      return socket;
    }
    socket.destroy();
    throw proxyError(proxy, `answered ${response.statusCode} to CONNECT ${authority}`);
  } catch (error) {
    if (error instanceof RunwatchError) throw error;
    const { code = 'unknown' } = error as NodeJS.ErrnoException;
    throw proxyError(proxy, `could not be reached (${code})`, error);
  }
}

type Connected = [response: IncomingMessage, socket: Duplex, head: Buffer];

function authorityOf({ host, port }: ClientRequestArgs): string {
  const name = host ?? '';
  return `${name.includes(':') ? `[${name}]` : name}:${port}`;
}

function authorizationFor({ username, password }: URL): { 'proxy-authorization'?: string } {
  if (username === '' && password === '') return {};
  const plain = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { 'proxy-authorization': `Basic ${Buffer.from(plain).toString('base64')}` };
}

/** Its credentials are in no message. */
function proxyError({ host }: URL, what: string, cause?: unknown): RunwatchError {
  return new RunwatchError(`the proxy ${host} ${what}`, { code: 'proxy', cause });
}

/** The part of a URL that Node's `request` needs, as few fields as possible: it copies them. */
interface RequestTarget {
  protocol: string;
  hostname: string;
  port: string;
  path: string;
}

/** The target of a request. The brackets around an IPv6 address belong to the URL, not to the host. */
export function requestTarget({ protocol, hostname, port, pathname, search }: URL): RequestTarget {
  const host = hostname.startsWith('[') ? hostname.slice(1, -1) : hostname;
  return { protocol, hostname: host, port, path: pathname + search };
}
