import { afterEach, expect, test } from '@jest/globals';
import { isPager } from '../../src/core/delivery/delivery.ts';
import type { Channel } from '../../src/deliver/channels/channel.ts';
import { createEmailChannel } from '../../src/deliver/channels/email.ts';
import { createPagerDutyChannel } from '../../src/deliver/channels/pagerduty.ts';
import { createEndpointGuard } from '../../src/deliver/egress/egress-guard.ts';
import { testEndpoint } from '../../src/deliver/endpoint-control.ts';
import { newMark, NOON } from '../support/builders.ts';
import { RECEIVERS } from '../support/endpoint-models.ts';
import { alertMessages } from '../support/messages.ts';
import { PAGERDUTY, ROUTING_KEY } from '../support/services/pagerduty.ts';
import { startService } from '../support/services/service.ts';
import { mailboxAt, startSmtpServer } from '../support/services/smtp.ts';

const TITLE = '[Test] 3 runs of invoices failed (failed-runs)';
const SUMMARY = 'This is what an alert of runwatch looks like; nothing has failed.';

const closers: (() => Promise<void>)[] = [];

/** Closes a service after the test. */
function closing<Started extends { close: () => Promise<void> }>(started: Started): Started {
  closers.push(started.close);
  return started;
}

afterEach(async () => {
  await Promise.all(closers.splice(0).map((close) => close()));
});

async function sendTest(channel: Channel) {
  const route = { channel, retry: [] };
  return testEndpoint(route, { endpoint: 'chat', isForPeople: true, now: NOON, newMark });
}

test.each(RECEIVERS)(
  'a test of $name shows a whole alert, marked as a test',
  async ({ type, start }) => {
    const { channel, messages } = closing(await start());
    expect(await sendTest(channel)).toMatchObject({ delivered: true });
    // A pager also gets the end of the alert.
    expect(messages()).toHaveLength(isPager(type) ? 2 : 1);
    const [posted = ''] = messages();
    // Discord escapes brackets.
    expect(posted.replaceAll('\\', '')).toContain(TITLE);
    expect(posted).toContain(SUMMARY);
    expect(posted).toContain('sample-run');
  },
);

test('a test of PagerDuty shows a whole alert of severity info, and ends it', async () => {
  const { url, http, requests } = closing(await startService(PAGERDUTY));
  const config = { routingKey: ROUTING_KEY, apiUrl: url, timeoutMs: 5_000 };
  expect(await sendTest(createPagerDutyChannel(config, http))).toMatchObject({ delivered: true });
  const [first, second] = requests.map(({ body }) => body);
  expect(first).toMatchObject({
    event_action: 'trigger',
    payload: { summary: TITLE, severity: 'info' },
  });
  expect(second).toMatchObject({ event_action: 'resolve', dedup_key: first?.['dedup_key'] });
});

test('a test mail shows a whole alert in its subject, text and HTML', async () => {
  const smtp = closing(await startSmtpServer());
  const guard = createEndpointGuard();
  const sent = await sendTest(
    createEmailChannel(mailboxAt(smtp), alertMessages(), guard, Date.now),
  );
  expect(sent).toMatchObject({ delivered: true });
  const text = smtp.mails
    .at(-1)
    ?.text.replaceAll(/=\n/g, '')
    .replaceAll(/\n[ \t]+/g, ' ');
  expect(text).toContain(`Subject: ${TITLE}`);
  expect(text?.split(SUMMARY)).toHaveLength(3);
});
