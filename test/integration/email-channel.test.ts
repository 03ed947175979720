import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { configSchema } from '../../src/config/schema.ts';
import { createEmailChannel, smtpServer } from '../../src/deliver/channels/email.ts';
import { createEndpointGuard, type EgressGuard } from '../../src/deliver/egress/egress-guard.ts';
import type { SentEvent } from '../../src/deliver/channels/notice/sent-event.ts';
import { alertMessages, messageOf } from '../support/messages.ts';
import { sampleAlert, sampleEvent, sampleFailures } from '../support/sample-events.ts';
import { mailboxAt, startSmtpServer } from '../support/services/smtp.ts';

let server: Awaited<ReturnType<typeof startSmtpServer>>;

beforeAll(async () => {
  server = await startSmtpServer();
});

beforeEach(() => {
  server.reset();
});

afterEach(() => {
  expect(server.refusals).toEqual([]);
});

afterAll(() => server.close());

type Options = Partial<Parameters<typeof createEmailChannel>[0]>;

function send(
  event: SentEvent,
  {
    others = [],
    guard = createEndpointGuard(),
    kept = alertMessages(),
    ...options
  }: Options & {
    others?: SentEvent[];
    guard?: EgressGuard;
    kept?: ReturnType<typeof alertMessages>;
  } = {},
) {
  const channel = createEmailChannel({ ...mailboxAt(server), ...options }, kept, guard, Date.now);
  return channel.send(messageOf(event, ...others));
}

/** A mail without the marks of quoted-printable, and without its folded headers. */
function readable(text: string): string {
  return text.replaceAll(/=\n/g, '').replaceAll(/\n[ \t]+/g, ' ');
}

const mailOf = () => readable(server.mails.at(-1)?.text ?? '');

test('a mail has a subject that a notification shows, text and HTML', async () => {
  expect(await send(sampleEvent('run.failed'))).toMatchObject({
    kind: 'delivered',
    attempt: { status: 250, response: '250 2.0.0 queued as 1' },
  });
  const mail = mailOf();
  expect(mail).toContain('Subject: invoices failed at 60 % after 6 s');
  expect(mail).toContain('From: runwatch <runwatch@example.com>');
  expect(mail).toContain('multipart/alternative');
  expect(mail).toContain('Open run: https://app.noxus.example/runs/');
  expect(mail).toContain('Auto-Submitted: auto-generated');
  expect(mail).toMatch(/List-I[Dd]: "?runwatch"? <runwatch.example.com>/);
});

test('mails about one alert are one thread, and each has an id of its own', async () => {
  await send(sampleAlert('alert.firing'));
  await send(sampleAlert('alert.resolved'));
  const [first, second] = server.mails.map(({ text }) => readable(text));
  expect(first).toContain('Message-ID: <evt_firing@example.com>');
  expect(second).toContain('Message-ID: <evt_resolved@example.com>');
  for (const mail of [first, second]) expect(mail).toContain('References: <alr_7f3a@example.com>');
});

test('mails about one alert have the subject of the first, and say first what is new', async () => {
  const kept = alertMessages();
  const firing = sampleAlert('alert.firing');
  // The first attempt may have reached the server without an answer.
  for (const event of [firing, firing, sampleAlert('alert.resolved')]) await send(event, { kept });
  await send(sampleAlert('alert.firing', { alert: { id: 'alr_other' } }), { kept });
  const title = '12 runs of invoices failed (failed-runs)';
  const subjects = server.mails.map(({ text }) => /^Subject: (.*)$/m.exec(readable(text))?.[1]);
  expect(subjects).toEqual([title, title, `Re: ${title}`, title]);
  const [, , resolved] = server.mails.map(({ text }) => readable(text));
  expect(resolved).toContain(`\n\nResolved: ${title}\n`);
});

test('a mail about more events has another id, also where the oldest event is the same', async () => {
  const [first, ...others] = sampleFailures(25);
  await send(first, { others: others.slice(0, 9) });
  await send(first, { others });
  await send(first, { others });
  const ids = server.mails.map(({ text }) => /^Message-ID: (.*)$/m.exec(text)?.[1]);
  expect(new Set(ids).size).toBe(2);
  expect(ids[1]).toBe(ids[2]);
});

test('a mail about an alert goes to its owner too', async () => {
  await send(sampleAlert('alert.firing'));
  expect(server.mails[0]?.to).toEqual(['ops@example.com', 'ana@example.com']);
});

test('a mail about several events lists five of them and a count', async () => {
  const [first, ...others] = sampleFailures(40);
  await send(first, { others });
  const mail = mailOf();
  expect(mail).toContain('Subject: 40 runs of 2 workflows failed');
  expect(mail).toContain('and 35 more');
});

test('what a run is named breaks neither headers nor HTML', async () => {
  const workflow = { id: 'w', name: 'a\r\nBcc: evil@example.com <script>alert(1)</script>' };
  await send(sampleEvent('run.failed', { workflow }));
  const [mail] = server.mails;
  expect(mail?.text).not.toMatch(/^Bcc:/m);
  expect(mail?.to).toEqual(['ops@example.com']);
  expect(mail?.text.slice(mail.text.indexOf('text/html'))).not.toContain('<script>');
});

describe('what an SMTP server answers', () => {
  test.each([
    ['GREET', '421 4.3.2 shutting down', 'failed'],
    ['MAIL', '451 4.3.0 try later', 'failed'],
    ['RCPT', '450 4.2.1 mailbox busy', 'failed'],
    ['RCPT', '550 5.1.1 no such user', 'rejected'],
    ['DATA', '554 5.7.1 refused', 'rejected'],
    ['DATA.', '552 5.3.4 too big', 'rejected'],
    ['DATA.', '452 4.3.1 disk full', 'failed'],
  ])('%s answered by "%s": %s', async (command, reply, kind) => {
    server.answerBy((one) => (one === command ? reply : null));
    const outcome = await send(sampleEvent('run.failed'));
    expect(outcome.kind).toBe(kind);
    expect(outcome.attempt.error?.message).toContain(reply.slice(0, 3));
    expect(server.mails).toEqual([]);
  });

  test('a mail that is taken for some recipients alone says for which it was refused, and why', async () => {
    const to = ['ops@example.com', 'left@example.com', 'full@example.com'];
    const refusals = { left: '550 5.1.1 no such user', full: '452 4.2.2 mailbox full' };
    server.answerBy((command) => {
      const line = server.commands.at(-1) ?? '';
      const [, reply] = Object.entries(refusals).find(([name]) => line.includes(`<${name}@`)) ?? [];
      return command === 'RCPT' && reply !== undefined ? reply : null;
    });
    expect(await send(sampleEvent('run.failed'), { to })).toMatchObject({
      kind: 'delivered',
      attempt: {
        status: 250,
        response: '250 2.0.0 queued as 1',
        error: {
          code: 'recipients_refused',
          message:
            '127.0.0.1 took the mail, but refused 2 of 3 recipients: left@example.com (550 5.1.1 no such user), full@example.com (452 4.2.2 mailbox full)',
        },
      },
    });
    expect(server.mails.map((mail) => mail.to)).toEqual([['ops@example.com']]);
  });

  test('a refused login is tried again, and does not show the password', async () => {
    const auth = { user: 'runwatch', pass: 'secret-of-smtp' };
    server.answerBy((one) => (one === 'AUTH' ? '535 5.7.8 secret-of-smtp is wrong' : null));
    const outcome = await send(sampleEvent('run.failed'), { auth });
    expect(outcome).toMatchObject({ kind: 'failed', attempt: { status: 535 } });
    expect(JSON.stringify(outcome)).not.toContain('secret-of-smtp');
  });

  test('a server that is not there, and one that hangs, are failures', async () => {
    const gone = await startSmtpServer();
    await gone.close();
    const refused = await send(sampleEvent('run.failed'), { port: gone.port });
    expect(refused).toMatchObject({ kind: 'failed', attempt: { error: { code: 'refused' } } });
    server.answerBy((one) => (one === 'DATA.' ? '' : null));
    const hung = await send(sampleEvent('run.failed'), { timeoutMs: 300 });
    expect(hung).toMatchObject({ kind: 'failed', attempt: { error: { code: 'timeout' } } });
  });

  test('a metadata address is never connected to, named or resolved', async () => {
    const host = 'mail.internal';
    const resolve = async () => [{ address: '169.254.169.254', family: 4 }];
    for (const options of [
      { host, guard: createEndpointGuard({ resolve }) },
      { host: '169.254.1.1' },
    ]) {
      const { kind, attempt } = await send(sampleEvent('run.failed'), options);
      expect([kind, attempt.error?.code]).toEqual(['failed', 'egress_blocked']);
    }
  });

  test('a name that does not resolve is said to be so', async () => {
    const resolve = async () => [];
    const options = { host: 'mail.internal', guard: createEndpointGuard({ resolve }) };
    const { attempt } = await send(sampleEvent('run.failed'), options);
    expect(attempt.error).toMatchObject({
      code: 'dns',
      message: expect.stringContaining('mail.internal'),
    });
  });

  test('a password is not sent where the server offers no TLS', async () => {
    const auth = { user: 'runwatch', pass: 'secret-of-smtp' };
    const outcome = await send(sampleEvent('run.failed'), { auth, requiresTls: true });
    expect(outcome.kind).not.toBe('delivered');
    expect(server.commands.some((command) => command.startsWith('AUTH'))).toBe(false);
  });
});

describe('the server that a configuration names', () => {
  test.each<[object, object]>([
    [{ url: 'smtps://mail.example.com' }, { host: 'mail.example.com', port: 465, isSecure: true }],
    [
      { url: 'smtp://u:p%40ss@mail.example.com' },
      { port: 587, requiresTls: true, auth: { user: 'u', pass: 'p@ss' } },
    ],
    [
      { host: '::1', port: 25 },
      { host: '::1', port: 25, requiresTls: false },
    ],
    [
      { host: 'mail.example.com', port: 465 },
      { port: 465, isSecure: true },
    ],
    [
      { host: 'localhost', port: 25, username: 'u', password: 'p' },
      { port: 25, isSecure: false, requiresTls: false, auth: { user: 'u', pass: 'p' } },
    ],
  ])('%j', (given, expected) => {
    const mail = { type: 'email', from: 'a@example.com', to: 'b@example.com', ...given };
    const { endpoints } = configSchema.parse({ data_dir: '/d', endpoints: { mail } });
    const endpoint = endpoints['mail'];
    if (endpoint?.type !== 'email') throw new Error('it is no mailbox');
    expect(smtpServer(endpoint)).toMatchObject(expected);
  });
});
