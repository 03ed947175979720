import { validateHeaderName, validateHeaderValue } from 'node:http';
import { RunwatchError, messageOf } from '../../core/errors.ts';
import { isReservedHeader } from '../../core/event/event.ts';
import type { TlsOptions } from '../../core/tls.ts';
import { outcomeByStatus, type HttpAttempts } from '../http-attempt.ts';
import { authorizationIn } from '../http-post.ts';
import { parseAddress, specialRange } from '../egress/addresses.ts';
import { standardBody, type BodyKind } from './bodies.ts';
import { createSigner } from '../secrets/sign.ts';
import { MASKED, type Channel, type Message } from './channel.ts';

/** The URL of a webhook, and how to send to it. */
export interface WebhookTarget {
  url: string;
  /** Path and query are credentials: they are redacted from stored answers. */
  isUrlSecret?: boolean;
  /** Every one signs: the current secret, and those that it replaces. */
  secrets: readonly string[];
  headers: Readonly<Record<string, string>>;
  /** One deadline for DNS, connect, TLS, headers and body, in milliseconds. */
  timeoutMs: number;
  tls?: TlsOptions;
  auth?: WebhookAuth;
  /** The form of the body; absent, the event's own JSON. */
  body?: BodyKind;
  /**
   * True for a URL that came with a watch: only the status is kept of an answer of a private host.
   * Otherwise a token with write scope could read pages behind a firewall.
   */
  isGuarded?: boolean;
}

/** The status decides: a receiver that drips its body must not hold a slot for it, ms. */
const BODY_MS = 1_000;

/**
 * Delivers by POST, signed by the Standard Webhooks specification.
 * @param timeOfDay what receivers compare with their own clock, milliseconds since the epoch
 * @throws RunwatchError `invalid_webhook_secret`, `invalid_header`
 */
export function createWebhookChannel(
  target: WebhookTarget,
  http: HttpAttempts,
  timeOfDay: () => number,
): Channel {
  const url = new URL(target.url);
  const sign = createSigner(target.secrets);
  const kind = target.body ?? standardBody;
  const confidential = {
    ...customHeaders(target.headers),
    ...(target.auth && authorizationOf(target.auth)),
  };
  const secretTexts = [
    ...Object.values(confidential),
    ...(target.isUrlSecret === true ? secretsOf(url) : []),
  ];
  const fixed = {
    ...confidential,
    'content-type': kind.contentType,
    'user-agent': http.userAgent,
  };
  return {
    async send(message: Message, signal?: AbortSignal, mayStart?: () => boolean) {
      const body = kind.render(message.body);
      const { traceparent } = message;
      // Not by spreading, which takes V8 ten times as long for names like these.
      const headers = Object.assign(sign({ ...message, body }, timeOfDay()), fixed);
      if (traceparent !== undefined) headers['traceparent'] = traceparent;
      const result = await http.post(
        {
          url,
          headers,
          body,
          tls: target.tls,
          mayStart,
          timeoutMs: target.timeoutMs,
          bodyMs: BODY_MS,
          confidential: secretTexts,
          mayShow: (address) => target.isGuarded !== true || isPublic(address),
        },
        signal,
      );
      return outcomeByStatus(result, http.now());
    },
    shownHeaders(eventId, atMs) {
      const { 'webhook-signature': signature, ...signed } = sign({ eventId, body: '' }, atMs);
      const credentials = { ...authorizationIn(url), ...confidential };
      return {
        ...signed,
        ...(signature !== undefined && {
          'webhook-signature': signature.replaceAll(/,[^ ]+/g, `,${MASKED}`),
        }),
        'content-type': kind.contentType,
        'user-agent': http.userAgent,
        ...Object.fromEntries(Object.keys(credentials).map((name) => [name, MASKED])),
      };
    },
  };
}

function secretsOf({ pathname, search }: URL): string[] {
  return [pathname + search, pathname, search];
}

function isPublic(address: string | undefined): boolean {
  const parsed = address === undefined ? null : parseAddress(address);
  return parsed !== null && specialRange(parsed) === null;
}

/** What is wrong with a custom header; null for nothing. */
export function headerProblem(name: string, value: string): string | null {
  const key = name.toLowerCase();
  if (isReservedHeader(key)) return `the header ${key} is reserved`;
  try {
    validateHeaderName(name);
  } catch (error) {
    return messageOf(error);
  }
  try {
    validateHeaderValue(name, value);
    return null;
  } catch {
    // Node's message quotes the value, which may be a secret.
    return `the header ${key} has a value with characters that headers cannot hold`;
  }
}

/**
 * Headers in lower case, so that none can come twice in two spellings.
 * @throws RunwatchError `invalid_header`
 */
export function customHeaders(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => {
      const problem = headerProblem(name, value);
      if (problem !== null) throw new RunwatchError(problem, { code: 'invalid_header' });
      return [name.toLowerCase(), value];
    }),
  );
}

/** The credentials of a webhook besides its signature: one of the two. */
interface WebhookAuth {
  bearer?: string | undefined;
  basic?: { username: string; password: string } | undefined;
}

/** The header of credentials: basic as UTF-8 (RFC 7617), bearer unchanged (RFC 6750). */
function authorizationOf({ bearer, basic }: WebhookAuth): Record<string, string> {
  if (bearer !== undefined) return { authorization: `Bearer ${bearer}` };
  if (basic === undefined) return {};
  const pair = Buffer.from(`${basic.username}:${basic.password}`).toString('base64');
  return { authorization: `Basic ${pair}` };
}
