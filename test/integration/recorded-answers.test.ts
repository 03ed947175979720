import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import { routes, type Route } from '../../src/http/schemas/routes.ts';
import { createKeys } from '../../src/redis/keys.ts';
import { SCHEMA } from '../../src/redis/migrations.ts';
import { runCli } from '../support/cli-harness.ts';
import { giveShades, NEXT, NEXT_FORM, nextKeys } from '../support/next-form.ts';
import { askAll, readAnswers, type RecordedAnswer } from '../support/recorded-answers.ts';
import { recordedForms } from '../support/recorded-store.ts';
import { testRedis } from '../support/redis.ts';
import { startStanding, type StandingDaemon } from '../support/standing-daemon.ts';
import { closeConnection } from '../support/stores.ts';

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

test('the recorded store of this form gets the recorded answers after a migration, and its watches are split', async () => {
  const target = testRedis();
  let shades = new Map<string, string>();
  const daemon = await startStanding(target, SCHEMA, {
    prepare: async (redis, keys) => (shades = await giveShades(redis, keys)),
    migrations: [NEXT],
  });
  const redis = new Redis(target.url);
  try {
    const keys = createKeys(target.prefix);
    expect(await redis.get(keys.schema)).toBe(NEXT_FORM);
    expect(await redis.hgetall(nextKeys(keys).tints)).toEqual(Object.fromEntries(shades));
    const answers = await askAll(daemon.get);
    expect(answers).toEqual([...(await readAnswers(SCHEMA)).values()]);
    expect(new Set(answers.flatMap(statesIn))).toEqual(
      new Set(['delivered', 'dead', 'parked', 'pending', 'skipped']),
    );
  } finally {
    await closeConnection(redis);
    await daemon.stop();
  }
});

/** The states of the deliveries in an answer. */
function statesIn({ path, body }: RecordedAnswer): string[] {
  const { data } = body as { data?: { state: string }[] };
  return path.startsWith('/v1/deliveries?') ? (data ?? []).map(({ state }) => state) : [];
}
