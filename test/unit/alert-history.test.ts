import { expect, test } from '@jest/globals';
import { momentText, withMoment, type Moment } from '../../src/core/alert/moment.ts';
import type { Rule } from '../../src/core/alert/rule.ts';
import { AlertStage, STAGE_START } from '../support/alert-stage.ts';
import { aRule } from '../support/fake-alerts.ts';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** What has happened, in seconds from the start of the stage. */
function told(history: readonly Moment[] = []): string[] {
  return history.map((one) => {
    const [comment, to] = [one.comment ?? '', one.to?.join(' ') ?? ''];
    const text = `${(one.at - STAGE_START) / SECOND} ${momentText(one)}`;
    return `${text}${comment && `: ${comment}`}${to && ` -> ${to}`}`;
  });
}

function stageOf(changes: Partial<Rule> = {}): AlertStage {
  return new AlertStage([aRule(changes)]);
}

test('the history of an alert says what was sent, the user that acknowledged it, and how it ended', () => {
  const escalate = [{ afterMs: HOUR, unlessAcknowledged: true, notify: ['pager'] }];
  const play = stageOf({ escalate });
  play.judge('run.failed');
  play.wait(MINUTE);
  for (let more = 0; more < 3; more += 1) {
    play.judge('run.failed');
    play.wait(6 * MINUTE);
  }
  play.wait(HOUR);
  const comment = 'looking';
  const until = play.now + HOUR;
  const acknowledgement = { by: 'ana', comment, at: play.now, until };
  play.act({ kind: 'acknowledge', acknowledgement });
  play.act({ kind: 'unacknowledge' });
  play.acknowledge(play.now + MINUTE);
  play.wait(2 * MINUTE);
  play.wait(5 * HOUR);
  expect(told(play.alert()?.history)).toEqual([
    '30 fired -> chat',
    '930 updated 3 times -> chat',
    '3630 escalated after 1h -> pager',
    '4740 acknowledged by ana: looking -> chat pager',
    '4740 acknowledgement taken back',
    '4740 still firing, repeated -> chat pager',
    '4740 acknowledged by ana -> chat pager',
    '4800 acknowledgement expired',
    '19200 still firing, repeated 2 times -> chat pager',
  ]);
  play.act({ kind: 'resolve', resolvedBy: { by: 'bob', comment: 'up again' } });
  const last = play.sent.at(-1);
  expect(told(last?.alert.history).at(-1)).toBe('22860 resolved by bob: up again -> chat pager');
  expect(last?.alert.history?.at(-1)?.eventId).toBe(last?.eventId);
});

test('the history of an alert says which mute and which alert kept it back, once while that lasts', () => {
  const nights = [{ name: 'nights', times: [{ from: 10 * 60, to: 12 * 60 }], location: 'UTC' }];
  const muted = new AlertStage([aRule({ mute: nights })]);
  muted.judge('run.failed');
  muted.wait(3 * HOUR);
  expect(told(muted.alert()?.history)).toEqual([
    '30 muted by nights',
    '7200 in the digest of what was held -> chat',
  ]);
  const inhibit = [{ sourceRule: 'down', targetRule: 'failed-runs', equal: ['source'] }];
  const down = aRule({ name: 'down', events: ['source.unreachable'], groupBy: ['source'] });
  const play = new AlertStage([aRule(), down], { inhibit });
  play.judge('source.unreachable', { run: null });
  play.judge('run.failed');
  play.wait(4 * MINUTE);
  const inhibited = play.open().find(({ rule }) => rule === 'failed-runs');
  expect(told(inhibited?.history)).toEqual(['30 inhibited by down']);
});

test.each([
  ['rule_changed', '30 fired -> chat', '60 resolved: its rule makes it no more -> chat'],
  ['quiet', '30 fired -> chat', '3600 resolved: nothing has matched for long -> chat'],
] as const)('the history says why an alert has ended where no event does: %s', (reason, ...all) => {
  const play = stageOf({ resolve: { events: [], count: 1, settleMs: 0, afterMs: HOUR } });
  play.judge('run.failed');
  play.wait(reason === 'quiet' ? 59 * MINUTE : 30 * SECOND);
  if (reason === 'rule_changed') play.use([]);
  play.wait(2 * MINUTE);
  const end = play.sent.at(-1)?.alert;
  expect(end?.reason).toBe(reason);
  const history = told(end?.history);
  if (reason === 'quiet') expect(history).toEqual(all);
  else expect([history[0], history.at(-1)?.replace(/^\d+/, '60')]).toEqual(all);
});

test('the digest of one alert is a moment for endpoints that knew it, and one for the others', () => {
  const play = stageOf({ notify: ['chat'] });
  play.judge('run.failed');
  play.wait(HOUR);
  const noon = [{ name: 'noon', times: [{ from: 11 * 60, to: 13 * 60 }], location: 'UTC' }];
  play.use([aRule({ notify: ['chat', 'mail'], mute: noon })]);
  play.judge('run.failed');
  play.wait(3 * HOUR);
  const sent = play.sent.filter(({ digest }) => digest !== null);
  expect(sent).toMatchObject([
    { kind: 'firing', notify: ['mail'] },
    { kind: 'updated', notify: ['chat'] },
  ]);
  const moments = play.alert()?.history?.filter(({ kind }) => kind === 'digested');
  const ofSent = sent.map(({ eventId, notify }) => ({ eventId, to: notify }));
  expect(moments).toMatchObject(ofSent);
  const ids = new Map(play.alert()?.notified.map(({ endpoint, eventId }) => [endpoint, eventId]));
  expect(ofSent.map(({ to: [name = ''] }) => ids.get(name))).toEqual(
    ofSent.map(({ eventId }) => eventId),
  );
});

test('a history keeps its first moment and the last 49, however often users change their minds', () => {
  let history: readonly Moment[] = [];
  for (let at = 0; at < 500; at += 1) {
    const kind = at % 2 === 0 ? ('acknowledged' as const) : ('unacknowledged' as const);
    history = withMoment(history, { kind, at });
  }
  expect(history).toHaveLength(50);
  expect(history[0]?.at).toBe(0);
  expect(history.slice(1).map(({ at }) => at)).toEqual(
    Array.from({ length: 49 }, (_, n) => n + 451),
  );
});

test('a thousand updates are one moment of a history', () => {
  let history: readonly Moment[] = [];
  for (let at = 0; at < 1_000; at += 1) {
    history = withMoment(history, { kind: 'updated', at, eventId: `evt_${at}`, to: ['chat'] });
  }
  expect(history).toEqual([
    { kind: 'updated', at: 999, times: 1_000, firstAt: 0, eventId: 'evt_999', to: ['chat'] },
  ]);
});
