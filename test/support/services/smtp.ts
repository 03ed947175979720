import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';

/** A mail that the server took, as it came. */
interface TakenMail {
  from: string;
  to: string[];
  /** Headers and body. */
  text: string;
}

/**
 * What the server answers to a command, such as `RCPT` or `DATA.`, with the text of the mail so far; null
 * for the usual answer.
 */
type SmtpAnswer = (command: string, text: string) => string | null;

/** The user that may send, where not all may. */
export interface SmtpUser {
  user: string;
  pass: string;
}

/**
 * A small SMTP server without TLS, which refuses what is against RFC 5321 and RFC 5322. `DATA.` stands
 * for the end of a mail.
 */
export async function startSmtpServer({ auth }: { auth?: SmtpUser } = {}) {
  const mails: TakenMail[] = [];
  const commands: string[] = [];
  const refusals: string[] = [];
  let current: SmtpAnswer = () => null;
  const server = createServer((socket) =>
    serve(socket, { mails, commands, refusals, auth, answer: (...given) => current(...given) }),
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    host: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
    mails,
    commands,
    /** Why mails were refused that the documents do not allow. */
    refusals,
    /** Forgets what came, and answers as the documents say again. */
    reset() {
      for (const list of [mails, commands, refusals]) list.length = 0;
      current = () => null;
    },
    answerBy(other: SmtpAnswer) {
      current = other;
    },
    async close() {
      server.close();
      await once(server, 'close');
    },
  };
}

interface Session {
  mails: TakenMail[];
  commands: string[];
  refusals: string[];
  auth: SmtpUser | undefined;
  answer: SmtpAnswer;
}

/** Most recipients of a mail that every server takes (RFC 5321, section 4.5.3.1.8). */
const MOST_RECIPIENTS = 100;

/** An address in angle brackets, as MAIL and RCPT have it. */
const PATH = /^(?:MAIL FROM|RCPT TO):<([^\s<>@]+@[A-Za-z0-9.-]+)>(?: |$)/i;

function serve(socket: Socket, { mails, commands, refusals, auth, answer }: Session): void {
  let mail: TakenMail | null = null;
  let lines: string[] | null = null;
  let isKnown = auth === undefined;
  let buffered = '';
  const say = (line: string) => socket.write(`${line}\r\n`);

  function refuse(line: string): void {
    refusals.push(line);
    say(line);
  }

  function endMail(taken: TakenMail, data: readonly string[]): void {
    mail = null;
    lines = null;
    const text = `${data.join('\n')}\n`;
    const special = answer('DATA.', text);
    if (special !== null) return void say(special);
    const problem = problemIn(data);
    if (problem !== null) return refuse(`554 5.6.0 ${problem}`);
    mails.push({ ...taken, text });
    say('250 2.0.0 queued as 1');
  }

  function takeCommand(line: string): void {
    const command = line.slice(0, 4).toUpperCase();
    commands.push(line);
    const special = answer(command, '');
    if (special !== null) return void say(special);
    const [, address] = PATH.exec(line) ?? [];
    switch (command) {
      case 'AUTH':
        isKnown = auth === undefined || line === `AUTH PLAIN ${plainAuth(auth)}`;
        return isKnown ? void say('235 2.7.0 accepted') : refuse('535 5.7.8 not accepted');
      case 'MAIL':
        if (!isKnown) return refuse('530 5.7.0 authentication required');
        if (address === undefined) return refuse('501 5.1.7 bad sender');
        mail = { from: line, to: [], text: '' };
        break;
      case 'RCPT':
        if (mail === null) return refuse('503 5.5.1 no sender yet');
        if (address === undefined) return refuse('501 5.1.3 bad recipient');
        if (mail.to.length >= MOST_RECIPIENTS) return refuse('452 4.5.3 too many recipients');
        mail.to.push(address);
        break;
      case 'DATA':
        if (mail === null || mail.to.length === 0) return refuse('503 5.5.1 no recipient yet');
        lines = [];
    }
    say(USUAL[command] ?? '250 ok');
    if (command === 'QUIT') socket.end();
  }

  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk) => {
    // Each byte is a character, so that none is cut between two chunks.
    buffered += chunk.toString('latin1');
    const came = buffered.split('\r\n');
    buffered = came.pop() ?? '';
    for (const line of came) {
      if (mail === null || lines === null) takeCommand(line);
      else if (line === '.') endMail(mail, lines);
      else lines.push(line.replace(/^\./, ''));
    }
  });
  say(answer('GREET', '') ?? '220 mail.test ESMTP');
}

const USUAL: Record<string, string> = {
  EHLO: '250-mail.test\r\n250 AUTH PLAIN',
  DATA: '354 go on',
  QUIT: '221 bye',
};

/** The user and password as AUTH PLAIN has them (RFC 4616). */
function plainAuth({ user, pass }: SmtpUser): string {
  return Buffer.from(`\0${user}\0${pass}`).toString('base64');
}

/** Headers that a mail has once, and whether it needs them (RFC 5322, section 3.6). */
const SINGLE: Record<string, boolean> = {
  date: true,
  from: true,
  to: true,
  'message-id': true,
  subject: true,
  'in-reply-to': false,
  references: false,
};

/** Why a mail is refused; null where it is taken. */
function problemIn(lines: readonly string[]): string | null {
  if (lines.some((line) => line.length > 998)) return 'a line of more than 998 characters';
  if (lines.some((line) => /[\r\n\0]/.test(line))) return 'half a line break, or NUL, in a line';
  if (lines.some((line) => /[\u0080-\u00ff]/.test(line))) return 'a character of eight bits';
  const headers = lines
    .slice(0, lines.indexOf(''))
    .join('\n')
    .replaceAll(/\n[ \t]+/g, ' ')
    .split('\n');
  const named = headers.map((header) => /^([!-9;-~]+): ?(.*)$/.exec(header));
  const bad = headers.find((_, at) => named[at] === null);
  return bad === undefined ? problemInHeaders(named as RegExpExecArray[]) : `no header: ${bad}`;
}

function problemInHeaders(headers: readonly RegExpExecArray[]): string | null {
  for (const [name, isNeeded] of Object.entries(SINGLE)) {
    const values = headers.flatMap(([, key = '', value = '']) =>
      key.toLowerCase() === name ? [value] : [],
    );
    if (values.length > 1) return `more than one ${name}`;
    const [value = null] = values;
    if (value === null && isNeeded) return `no ${name}`;
    if (value !== null && IDS.has(name) && !ID_LIST.test(value)) return `${name}: ${value}`;
    if (value?.trim() === '') return `an empty ${name}`;
  }
  return null;
}

const IDS: ReadonlySet<string> = new Set(['message-id', 'in-reply-to', 'references']);
const ID_LIST = /^<[^\s<>@]+@[A-Za-z0-9.-]+>( <[^\s<>@]+@[A-Za-z0-9.-]+>)*$/;

/** What a channel needs to send to such a server, of a configuration without login. */
export function mailboxAt({ host, port }: { host: string; port: number }) {
  return {
    endpoint: 'mail',
    host,
    port,
    isSecure: false,
    requiresTls: false,
    auth: null,
    tls: {},
    from: 'runwatch <runwatch@example.com>',
    to: ['ops@example.com'],
    mentions: { '@ana': 'ana@example.com' },
    timeoutMs: 5_000,
  };
}
