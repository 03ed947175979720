import { createEmailChannel } from '../../../src/deliver/channels/email.ts';
import { createEndpointGuard } from '../../../src/deliver/egress/egress-guard.ts';
import { alertMessages } from '../messages.ts';
import { SENDING, type EndpointModel, type Receiver } from './service.ts';
import { mailboxAt, startSmtpServer } from './smtp.ts';

export const MODEL: EndpointModel = {
  configured: {
    'a mail server by its URL': {
      settings: ({ smtp }) => ({
        url: `smtp://canary-user:canary%20password@${smtp}`,
        from: 'canary-from@example.com',
        to: ['canary-to@example.com', 'canary-other@example.com'],
      }),
      arrives: {
        url: ['\0canary-user\0canary password', 'AUTH'],
        from: ['canary-from@example.com', 'MAIL', 'mail'],
        to: ['canary-other@example.com', 'RCPT', 'mail'],
      },
    },
    'a mail server by host and port': {
      settings: ({ smtp }) => ({
        host: smtp.split(':')[0],
        port: Number(smtp.split(':')[1]),
        username: 'canary-user',
        password: 'canary-password',
        from: 'canary-from@example.com',
        to: 'canary-to@example.com',
      }),
      arrives: {
        username: ['\0canary-user\0', 'AUTH'],
        password: ['\0canary-password', 'AUTH'],
      },
    },
  },
  receivers: { 'a mail server': startMailServer },
};

/** A mail server that rejects mails as spam. */
async function startMailServer(): Promise<Receiver> {
  const server = await startSmtpServer();
  const mails: string[] = [];
  let spam: string | null = null;
  server.answerBy((command, text) => {
    if (command !== 'DATA.') return null;
    const mail = unfolded(text);
    mails.push(mail);
    return spam !== null && mail.includes(spam) ? '554 5.7.1 taken for spam' : null;
  });
  return {
    channel: createEmailChannel(
      { ...mailboxAt(server), ...SENDING },
      alertMessages(),
      createEndpointGuard(),
      Date.now,
    ),
    messages: () => mails,
    refusals: server.refusals,
    rejectBy(part) {
      spam = part;
    },
    close: server.close,
  };
}

/** A mail without the line breaks that its lines of limited length need. */
function unfolded(mail: string): string {
  return mail.replaceAll(/=\n/g, '').replaceAll(/\n[ \t]+/g, ' ');
}
