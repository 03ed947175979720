import { afterEach, expect, test } from '@jest/globals';
import {
  ALERT_EVENT_TYPES,
  EVENT_TYPES,
  SYSTEM_EVENT_TYPES,
  TEST_EVENT_TYPE,
} from '../../src/core/event/event.ts';
import type { SentEvent } from '../../src/deliver/channels/notice/sent-event.ts';
import { NOTHING_GIVEN } from '../support/builders.ts';
import { RECEIVERS } from '../support/endpoint-models.ts';
import { messageOf } from '../support/messages.ts';
import { sampleAlert, sampleEvent, sampleSystemEvent } from '../support/sample-events.ts';
import type { Receiver } from '../support/services/service.ts';

/** Of this source the channels of the tests know no other label than its name. */
const SOURCE = 'forge';

const LINKS = {
  run_url: 'https://forge.example.com/runs/7',
  watch_url: 'https://runwatch.example.com/runs/forge/7',
};

function eventOfRun(type: string, number: number): SentEvent {
  const given = { id: 'acme/7', status: 'running', observed_at: '2026-01-01T12:00:07.000Z' };
  return sampleEvent(type, {
    number,
    workflow: { id: '', name: null },
    run: { ...NOTHING_GIVEN, ...given },
    data: { ...LINKS, run_id: 'acme/7', watch: { source: SOURCE, metadata: {} } },
  });
}

const ALERT = {
  labels: { source: SOURCE },
  runs: [{ run_id: 'acme/7', workflow_id: null, name: null, url: LINKS.run_url, status: 'failed' }],
  count: 1,
};

/** An event of each type about a source that gives of a run what it must; some in one message with others. */
const MESSAGES: [SentEvent, ...SentEvent[]][] = [
  ...EVENT_TYPES.map((type): [SentEvent] => [eventOfRun(type, 1)]),
  ...EVENT_TYPES.map((type): [SentEvent, SentEvent] => [eventOfRun(type, 1), eventOfRun(type, 2)]),
  ...ALERT_EVENT_TYPES.map((type): [SentEvent] => [sampleAlert(type, { alert: ALERT })]),
  ...[...SYSTEM_EVENT_TYPES, TEST_EVENT_TYPE].map((type): [SentEvent] => [
    sampleSystemEvent(type, {
      source: SOURCE,
      endpoint: 'ops',
      message: 'status 503',
      since: null,
    }),
  ]),
];

const receivers: Receiver[] = [];

afterEach(async () => {
  await Promise.all(receivers.splice(0).map(({ close }) => close()));
});

test.each(RECEIVERS)(
  'no message to $name about a source of another kind says Noxus, or what the source does not give',
  async ({ start }) => {
    const receiver = await start();
    receivers.push(receiver);
    for (const events of MESSAGES) await receiver.channel.send(messageOf(...events));
    const texts = receiver.messages();
    expect(texts.length).toBeGreaterThanOrEqual(MESSAGES.length);
    expect(
      texts.filter((text) =>
        /noxus|(?<!"contentUrl":)\bnull\b|undefined|–|=E2=80=93|an unknown/i.test(text),
      ),
    ).toEqual([]);
  },
);
