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

/** A small SMTP server without TLS. `DATA.` stands for the end of a mail. */
export async function startSmtpServer(answer: SmtpAnswer = () => null) {
  const mails: TakenMail[] = [];
  const commands: string[] = [];
  let current = answer;
  const session = {
    mails,
    commands,
    answer: (command: string, text: string) => current(command, text),
  };
  const server = createServer((socket) => serve(socket, session));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    host: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
    mails,
    commands,
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
  answer: SmtpAnswer;
}

function serve(socket: Socket, { mails, commands, answer }: Session): void {
  let mail: TakenMail = { from: '', to: [], text: '' };
  let isData = false;
  let buffered = '';
  const say = (line: string) => socket.write(`${line}\r\n`);

  function endMail(): void {
    isData = false;
    const special = answer('DATA.', mail.text);
    if (special === null) mails.push(mail);
    say(special ?? '250 2.0.0 queued as 1');
  }

  function take(line: string): void {
    if (isData) {
      if (line === '.') endMail();
      else mail.text += `${line}\n`;
      return;
    }
    const command = line.slice(0, 4).toUpperCase();
    commands.push(line);
    const special = answer(command, mail.text);
    if (special !== null) return void say(special);
    if (command === 'MAIL') mail = { from: line, to: [], text: '' };
    if (command === 'RCPT') mail.to.push(/<(.*)>/.exec(line)?.[1] ?? '');
    if (command === 'DATA') isData = true;
    say(USUAL[command] ?? '250 ok');
    if (command === 'QUIT') socket.end();
  }

  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk) => {
    buffered += chunk.toString();
    const lines = buffered.split('\r\n');
    buffered = lines.pop() ?? '';
    for (const line of lines) take(line);
  });
  const greeting = answer('GREET', '');
  say(greeting ?? '220 mail.test ESMTP');
}

const USUAL: Record<string, string> = {
  EHLO: '250-mail.test\r\n250 AUTH PLAIN LOGIN',
  AUTH: '235 2.7.0 accepted',
  DATA: '354 go on',
  QUIT: '221 bye',
};
