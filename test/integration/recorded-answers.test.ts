import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { routes, type Route } from '../../src/http/schemas/routes.ts';
import { runCli } from '../support/cli-harness.ts';
import { askAll, readAnswers, type RecordedAnswer } from '../support/recorded-answers.ts';
import { recordedForms } from '../support/recorded-store.ts';
import { testRedis } from '../support/redis.ts';
import { startStanding, type StandingDaemon } from '../support/standing-daemon.ts';

/** What is not about the store: other processes, and the memory and version of the machine's Redis. */
const OF_THE_MACHINE = new Set(['GET /v1/processes', 'GET /v1/store', 'GET /v1/events/stream']);

/** Verbs that print the answer of the API. */
const VERBS: readonly [verb: string, path: string][] = [
  ['list --state active,gone', '/v1/watches?state=active,gone'],
  ['batches', '/v1/batches'],
  ['alerts', '/v1/alerts'],
  ['deliveries --state pending,parked,skipped', '/v1/deliveries?state=pending,parked,skipped'],
  ['endpoints', '/v1/endpoints'],
  ['webhooks', '/v1/webhooks'],
  ['workflows', '/v1/workflows'],
  ['polling', '/v1/polling'],
  ['silence list', '/v1/silences'],
  ['audit', '/v1/audit'],
  ['attention', '/v1/attention'],
];

describe.each(recordedForms())('the recorded store of form %s', (form) => {
  let daemon: StandingDaemon;
  let recorded: Map<string, RecordedAnswer>;
  let answers: Map<string, RecordedAnswer>;

  beforeAll(async () => {
    daemon = await startStanding(testRedis(), form);
    recorded = await readAnswers(form);
    answers = new Map((await askAll(daemon.get)).map((answer) => [answer.path, answer]));
  });
  afterAll(() => daemon.stop());

  test('gets the recorded answers; `npm run record-answers` records a wanted change', () => {
    expect([...answers.keys()]).toEqual([...recorded.keys()]);
    for (const [path, answer] of recorded) expect(answers.get(path)).toEqual(answer);
    expect([...recorded.values()].filter(({ status }) => status !== 200)).toEqual([]);
  });

  test('is asked by every route that reads the store', () => {
    const paths = [...recorded.keys()].map((path) => path.replace(/\?.*/, ''));
    const unasked = Object.values(routes)
      .flatMap((slice): Route[] => Object.values(slice))
      .map(({ route }) => route)
      .filter((route) => route.startsWith('GET ') && !OF_THE_MACHINE.has(route))
      .filter((route) => {
        const pattern = new RegExp(`^${route.slice('GET '.length).replace(/\{\w+\}/g, '[^/]+')}$`);
        return !paths.some((path) => pattern.test(path));
      });
    expect(unasked).toEqual([]);
  });

  test.each(VERBS)('is shown by `runwatch %s --json` as by the API', async (verb, path) => {
    const env = { RUNWATCH_URL: daemon.url };
    const { exitCode, stdout, stderr } = await runCli([...verb.split(' '), '--json'], { env });
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    const { body } = await daemon.get(path);
    expect(JSON.parse(stdout)).toMatchObject({ data: (body as { data: object[] }).data });
  });
});
