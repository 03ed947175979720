import { createHash } from 'node:crypto';
import { connect, isIPv6, type Socket } from 'node:net';
import type { SendMailOptions } from 'nodemailer';
import { isLoopback } from '../../config/hosts.ts';
import type { EndpointConfig } from '../../config/schema.ts';
import type { Attempt, AttemptError, AttemptOutcome } from '../../core/delivery/delivery.ts';
import { messageOf } from '../../core/errors.ts';
import { valueOf } from '../../core/records.ts';
import type { TlsOptions } from '../../core/tls.ts';
import { Deadline } from '../../deadline.ts';
import { throwIfExhausted } from '../../host-shortage.ts';
import { egressBlocked, type EgressGuard } from '../egress/egress-guard.ts';
import { responseText } from '../http-post.ts';
import type { AlertMessageStore } from '../../redis/stores/alert-store.ts';
import { eventsOf, withoutResult, type Channel } from './channel.ts';
import { noticeOf } from './notice/describe.ts';
import {
  eventIdsText,
  oneLine,
  runsAndRest,
  titleOf,
  type Notice,
  type Wording,
  type Tone,
} from './notice/notice.ts';
import type { SentEvent } from './notice/sent-event.ts';

/** The mail server, the sender and the recipients. */
interface Mailbox {
  /** The name of the endpoint, under which the subjects of its threads are remembered. */
  endpoint: string;
  host: string;
  port: number;
  /** TLS from the first byte, rather than by STARTTLS. */
  isSecure: boolean;
  /** Refuses to go on where the server offers no STARTTLS: a password must not travel in clear. */
  requiresTls: boolean;
  auth: { user: string; pass: string } | null;
  tls: TlsOptions;
  from: string;
  to: readonly string[];
  /** Addresses by the names of owners; they get what concerns them too. */
  mentions: Readonly<Record<string, string>>;
  wording?: Wording;
  timeoutMs: number;
}

/** The usual ports of SMTP: with TLS from the first byte, and for submission (RFC 8314, RFC 6409). */
const SECURE_PORT = 465;
const SUBMISSION_PORT = 587;

/** A host as a URL has it: an address of IPv6 in brackets. */
function inUrl(host: string): string {
  return isIPv6(host) ? `[${host}]` : host;
}

/** Where mails are handed in. A password goes over TLS alone, unless the server is this machine. */
export function smtpServer(endpoint: Extract<EndpointConfig, { type: 'email' }>) {
  const { url = `smtp://${inUrl(endpoint.host ?? '')}`, username, password } = endpoint;
  const { protocol, hostname, port, username: user, password: pass } = new URL(url);
  const isSecure = protocol === 'smtps:' || endpoint.port === SECURE_PORT;
  const given =
    user === '' ? null : { user: decodeURIComponent(user), pass: decodeURIComponent(pass) };
  const auth = username === undefined ? given : { user: username, pass: password ?? '' };
  const host = hostname.replace(/^\[(.*)\]$/, '$1');
  return {
    host,
    port: endpoint.port ?? (Number(port) || (isSecure ? SECURE_PORT : SUBMISSION_PORT)),
    isSecure,
    requiresTls: !isSecure && auth !== null && !isLoopback(host),
    auth,
  };
}

type AlertMessages = Pick<AlertMessageStore, 'get' | 'put'>;
type Guard = Pick<EgressGuard, 'checkTarget' | 'lookup'>;

/**
 * Sends mails by SMTP.
 * @param guard says which addresses may be connected to
 */
export function createEmailChannel(
  mailbox: Mailbox,
  alertMessages: AlertMessages,
  guard: Guard,
  now: () => number,
): Channel {
  const { timeoutMs } = mailbox;
  let opened: ReturnType<typeof openTransport> | undefined;
  const secrets = mailbox.auth === null ? [] : [mailbox.auth.user, mailbox.auth.pass];
  return {
    async send(message, signal, mayStart) {
      const events = eventsOf(message);
      const mail = emailMessage(events, mailbox);
      const subject = await subjectOf(mail.subject, events, mailbox.endpoint, alertMessages);
      const transport = await (opened ??= openTransport(mailbox, guard));
      if (mayStart?.() === false) throw withoutResult('claim_too_old');
      const at = now();
      const deadline = new Deadline(timeoutMs, signal);
      const sent = await untilAborted(
        transport.sendMail({ ...mail, subject }),
        deadline.signal,
      ).finally(() => deadline.release());
      if (sent.kind === 'aborted' && signal?.aborted === true)
        throw withoutResult('attempt_aborted');
      if (sent.kind === 'failed') await throwIfExhausted(sent.error);
      const durationMs = Math.max(0, now() - at);
      return outcomeOf(sent, { at, durationMs, secrets, mailbox });
    },
  };
}

/**
 * The subject of a mail. Gmail puts a mail to a thread only where both have one subject, `Re:` apart, so
 * the mails of an alert have that of its first one. It is kept before that is sent, and so is the same in
 * every attempt.
 * @param title what a mail without a thread has
 */
async function subjectOf(
  title: string,
  events: readonly [SentEvent, ...SentEvent[]],
  endpoint: string,
  alertMessages: AlertMessages,
): Promise<string> {
  const [{ id, type, data }] = events;
  const isOfAlert = type.startsWith('alert.') && threadOf(events) !== null;
  if (data.alert === undefined || !isOfAlert) return title;
  // Apart from what a chat of the same name would remember.
  const place = [`${endpoint}.mail`, data.alert.id] as const;
  const kept = await alertMessages.get(...place);
  if (kept === null) {
    await alertMessages.put(...place, `${id} ${title}`);
    return title;
  }
  const first = kept.slice(kept.indexOf(' ') + 1);
  return kept.startsWith(`${id} `) ? first : `Re: ${first}`;
}

/** Loads the library with the first mail: most daemons send none, and start sooner without it. */
async function openTransport(mailbox: Mailbox, guard: Guard) {
  const { createTransport } = await import('nodemailer');
  return createTransport({
    host: mailbox.host,
    port: mailbox.port,
    secure: mailbox.isSecure,
    getSocket: guardedSocket(mailbox, guard),
    requireTLS: mailbox.requiresTls,
    ...(mailbox.auth && { auth: mailbox.auth }),
    tls: tlsOf(mailbox.tls),
    connectionTimeout: mailbox.timeoutMs,
    greetingTimeout: mailbox.timeoutMs,
    socketTimeout: mailbox.timeoutMs,
    // A mail is made of an event alone.
    disableFileAccess: true,
    disableUrlAccess: true,
  });
}

/** Opens a connection to an address that may be reached; TLS comes on top of it. */
function guardedSocket({ host, port, isSecure, timeoutMs }: Mailbox, guard: Guard) {
  const target = { host, port, secure: isSecure };
  return (_options: unknown, callback: (error: Error | null, found: SocketFound) => void): void => {
    const verdict = guard.checkTarget(target);
    if (!verdict.allowed) return callback(egressBlocked(verdict.message), false);
    const socket = connect({ host, port, lookup: guard.lookup(target) });
    const end = (error: Error) => {
      socket.destroy();
      callback(error, false);
    };
    socket.once('error', end);
    socket.setTimeout(timeoutMs, () => end(Object.assign(new Error('no connection'), TIMED_OUT)));
    socket.once('connect', () => {
      socket.off('error', end).setTimeout(0);
      callback(null, { connection: socket });
    });
  };
}

type SocketFound = { connection: Socket } | false;

const TIMED_OUT = { code: 'ETIMEDOUT' };

function tlsOf({ ca, certificate, key }: TlsOptions) {
  return { ...(ca && { ca }), ...(certificate && { cert: certificate }), ...(key && { key }) };
}

/** What the server says of a mail that it took for one recipient at least. */
interface Taken {
  response: string;
  accepted: readonly unknown[];
  rejectedErrors?:
    | readonly { recipient?: string | undefined; response?: string | undefined }[]
    | undefined;
}

type Sent =
  | { kind: 'sent'; taken: Taken }
  | { kind: 'failed'; error: unknown }
  | { kind: 'aborted' };

/** The result of sending a mail, unless the deadline comes first: the library takes no signal. */
async function untilAborted(sending: Promise<Taken>, signal: AbortSignal): Promise<Sent> {
  const aborted = new Promise<Sent>((resolve) => {
    signal.addEventListener('abort', () => resolve({ kind: 'aborted' }), { once: true });
  });
  const sent = sending.then(
    (taken): Sent => ({ kind: 'sent', taken }),
    (error: unknown): Sent => ({ kind: 'failed', error }),
  );
  return Promise.race([sent, aborted]);
}

interface Circumstances {
  at: number;
  durationMs: number;
  secrets: readonly string[];
  mailbox: Mailbox;
}

function outcomeOf(sent: Sent, circumstances: Circumstances): AttemptOutcome {
  const { at, durationMs, secrets, mailbox } = circumstances;
  const attemptOf = (fields: Partial<Attempt>): Attempt => ({
    at,
    status: null,
    error: null,
    durationMs,
    response: null,
    ...fields,
  });
  const shown = (text: string) => responseText(Buffer.from(text), secrets);
  switch (sent.kind) {
    case 'sent': {
      const { response } = sent.taken;
      const said = { status: codeIn(response), response: shown(response) };
      const error = refusedRecipients(sent.taken, mailbox, shown);
      return { kind: 'delivered', attempt: attemptOf({ ...said, error }) };
    }
    case 'aborted': {
      const seconds = mailbox.timeoutMs / 1_000;
      const message = `${mailbox.host} took no mail within ${seconds} s`;
      return { kind: 'failed', attempt: attemptOf({ error: { code: 'timeout', message } }) };
    }
    case 'failed': {
      const { responseCode = null, response = null } = sent.error as SmtpError;
      const error = errorOf(sent.error as SmtpError, mailbox, shown);
      const attempt = attemptOf({
        status: responseCode,
        error,
        response: response === null ? null : shown(response),
      });
      return { kind: isFinal(sent.error as SmtpError) ? 'rejected' : 'failed', attempt };
    }
  }
}

/** The most of a server's word on one recipient, and of what is said of all of them, characters. */
const MOST_OF_ONE = 100;
const MOST_OF_ALL = 1_000;

/**
 * What is wrong with a mail that its server took for some recipients alone; null for nothing. It is not sent again:
 * recipients that have it would get it twice.
 */
function refusedRecipients(
  { accepted, rejectedErrors: refused = [] }: Taken,
  { host }: Mailbox,
  shown: (text: string) => string,
): AttemptError | null {
  if (refused.length === 0) return null;
  const each = refused.map(
    ({ recipient = '', response = '' }) => `${recipient} (${oneLine(response, MOST_OF_ONE)})`,
  );
  const many = `${refused.length} of ${accepted.length + refused.length} recipients`;
  const who = oneLine(shown(each.join(', ')), MOST_OF_ALL);
  return {
    code: 'recipients_refused',
    message: `${host} took the mail, but refused ${many}: ${who}`,
  };
}

function codeIn(response: string): number | null {
  const code = Number(/^\d{3}/.exec(response)?.[0]);
  return Number.isFinite(code) ? code : null;
}

/** Source: https://nodemailer.com/errors */
interface SmtpError {
  code?: string;
  message?: string;
  response?: string;
  responseCode?: number;
}

/**
 * 5xx is permanent: the same mail will not be taken. A refused login is about the endpoint and not the
 * mail, which may go once the password is right.
 * Source: RFC 5321, section 4.2.1
 */
function isFinal({ code, responseCode = 0 }: SmtpError): boolean {
  return responseCode >= 500 && responseCode <= 599 && code !== 'EAUTH';
}

const CODES: Readonly<Record<string, string>> = {
  EDNS: 'dns',
  ENOTFOUND: 'dns',
  EAI_AGAIN: 'dns',
  ETIMEDOUT: 'timeout',
  ETLS: 'tls',
  ECONNECTION: 'network',
  ESOCKET: 'network',
  ECONNRESET: 'network',
  EHOSTUNREACH: 'network',
  ENETUNREACH: 'network',
};

function errorOf(
  error: SmtpError,
  { host, port }: Mailbox,
  shown: (text: string) => string,
): AttemptError {
  const why = oneLine(shown(messageOf(error)), 300);
  if (error.responseCode !== undefined) {
    return { code: 'status', message: `${host} answered ${error.responseCode}: ${why}` };
  }
  if (error.code === 'egress_blocked') return { code: error.code, message: why };
  const isRefused = why.includes('ECONNREFUSED');
  const code = isRefused ? 'refused' : (CODES[error.code ?? ''] ?? 'protocol');
  return { code, message: `no mail could be sent by ${host}:${port}: ${why}` };
}

/** The mail that one event becomes, or several of one type. */
export function emailMessage(
  events: readonly [SentEvent, ...SentEvent[]],
  { from, to, mentions, wording }: Pick<Mailbox, 'from' | 'to' | 'mentions' | 'wording'>,
): SendMailOptions & { subject: string } {
  const notice = noticeOf(events, wording);
  const title = oneLine(titleOf(notice), 250);
  const domain = domainOf(from);
  const thread = threadOf(events);
  const root = thread === null ? null : `<${thread}@${domain}>`;
  const owner = notice.owner === null ? undefined : valueOf(mentions, notice.owner);
  const shown = { ...notice, title };
  return {
    from,
    to: [...to, ...(owner === undefined || to.includes(owner) ? [] : [owner])],
    subject: title,
    text: textOf(shown),
    html: htmlOf(shown),
    // The same events have the same id in every attempt, so that mailboxes drop repeats.
    messageId: `<${messageIdOf(events)}@${domain}>`,
    ...(root !== null && { references: [root], inReplyTo: root }),
    list: { id: { url: `runwatch.${domain}`, comment: 'runwatch' } },
    headers: { 'Auto-Submitted': 'auto-generated', 'X-Auto-Response-Suppress': 'All' },
  };
}

function domainOf(from: string): string {
  return /@([A-Za-z0-9.-]+)/.exec(from)?.[1] ?? 'runwatch.invalid';
}

/** Mails that cover other events have other ids, also where the first event is the same. */
function messageIdOf([first, ...others]: readonly [SentEvent, ...SentEvent[]]): string {
  if (others.length === 0) return leftPart('event', first.id);
  const hash = createHash('sha256').update(first.id);
  for (const { id } of others) hash.update(` ${id}`);
  return `fold_${hash.digest('hex').slice(0, 32)}`;
}

/** Mails about one alert, or about one run, are one thread. */
function threadOf([{ data }, ...others]: readonly [SentEvent, ...SentEvent[]]): string | null {
  if (others.length > 0 || data.digest) return null;
  if (data.alert !== undefined) return data.alert.id;
  if (data.run_id === undefined) return null;
  return leftPart('run', `${data.watch?.source ?? 'default'}.${data.run_id}`);
}

/** With it, a header is well below the longest line of a mail, 998 bytes. */
const MOST_IN_LEFT_PART = 255;

/**
 * The part of a message id before its `@`: a name where it is made of atoms with dots between them, else
 * its hash. Source: RFC 5322, sections 3.2.3 and 3.6.4
 */
function leftPart(kind: 'event' | 'run', name: string): string {
  const isFit = name.length <= MOST_IN_LEFT_PART && /^[\w~-]+(\.[\w~-]+)*$/.test(name);
  if (isFit) return name;
  return `${kind}_${createHash('sha256').update(name).digest('hex').slice(0, 32)}`;
}

function textOf(notice: Notice): string {
  const { title, lines, links } = notice;
  const parts = [
    [title, ...lines],
    factsAndOwner(notice).map(([name, value]) => `${name}: ${value}`),
    runsAndRest(notice).map(({ text, url }) =>
      url === null ? `- ${text}` : `- ${text}\n  ${url}`,
    ),
    links.map(({ label, url }) => `${label}: ${url}`),
    [footerOf(notice)],
  ];
  return parts
    .filter((part) => part.length > 0)
    .map((part) => part.join('\n'))
    .join('\n\n');
}

function factsAndOwner({ facts, owner }: Notice): Notice['facts'] {
  return owner === null ? facts : [...facts, ['Owner', owner]];
}

function footerOf(notice: Notice): string {
  const { at, isTest } = notice;
  const test = isTest ? 'A test by runwatch endpoints test. ' : '';
  return `${test}${at.replace('T', ' ').replace(/\.\d+Z$/, ' UTC')} · ${eventIdsText(notice)}`;
}

const COLOURS: Readonly<Record<Tone, string>> = {
  bad: '#d92d20',
  attention: '#dc6803',
  good: '#079455',
  neutral: '#475467',
};

/** Styles stand on each element: clients of mail drop style sheets. */
function htmlOf(notice: Notice): string {
  const { title, tone, lines, links } = notice;
  const rows = factsAndOwner(notice);
  const items = runsAndRest(notice);
  return [
    '<div style="font-family:-apple-system,Segoe UI,Roboto,Helvetica,Arial,sans-serif;font-size:14px;line-height:20px;color:#101828;max-width:600px">',
    `<p style="margin:0 0 12px;padding-left:10px;border-left:4px solid ${COLOURS[tone]};font-size:17px;line-height:24px;font-weight:600">${escapeHtml(title)}</p>`,
    ...lines.map((line) => `<p style="margin:0 0 8px">${escapeHtml(line)}</p>`),
    rows.length === 0
      ? ''
      : `<table style="border-collapse:collapse;margin:0 0 12px">${rows.map(rowOf).join('')}</table>`,
    items.length === 0
      ? ''
      : `<ul style="margin:0 0 12px;padding-left:20px">${items.map(itemOf).join('')}</ul>`,
    links.length === 0 ? '' : `<p style="margin:0 0 16px">${links.map(buttonOf).join(' ')}</p>`,
    `<p style="margin:0;color:#667085;font-size:12px">${escapeHtml(footerOf(notice))}</p>`,
    '</div>',
  ]
    .filter((part) => part !== '')
    .join('\n');
}

function rowOf([name, value]: readonly [string, string]): string {
  return `<tr><td style="padding:2px 16px 2px 0;color:#667085;vertical-align:top;white-space:nowrap">${escapeHtml(name)}</td><td style="padding:2px 0;word-break:break-word">${escapeHtml(value)}</td></tr>`;
}

function itemOf({ text, url }: { text: string; url: string | null }): string {
  const shown = escapeHtml(text);
  const linked =
    url === null ? shown : `<a href="${escapeHtml(url)}" style="color:#175cd3">${shown}</a>`;
  return `<li style="margin:0 0 4px">${linked}</li>`;
}

function buttonOf({ label, url }: { label: string; url: string }): string {
  return `<a href="${escapeHtml(url)}" style="display:inline-block;padding:6px 12px;border:1px solid #d0d5dd;border-radius:6px;color:#344054;text-decoration:none">${escapeHtml(label)}</a>`;
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
};

function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"]/g, (character) => ENTITIES[character] ?? character);
}
