import { readFile } from 'node:fs/promises';
import { recordingPath } from './recorded-store.ts';

/** What the API answers about a recorded store. */
export interface RecordedAnswer {
  path: string;
  status: number;
  body: unknown;
}

interface Page {
  data: Record<string, unknown>[];
}

type Get = (path: string) => Promise<Omit<RecordedAnswer, 'path'>>;

/**
 * What a daemon answers alike that observes with no source in reach: nothing else of a store is sure to stay while
 * one runs on it.
 */
export const LASTING = [
  '/v1/watches?state=finished,expired&limit=200',
  '/v1/batches?state=completed',
  '/v1/events?type=run.started,run.awaiting_human_feedback,run.completed,run.failed,run.stopped',
  '/v1/deliveries?state=delivered,dead&limit=200',
  '/v1/alerts?state=resolved',
  '/v1/audit',
];

const LISTINGS = [
  '/v1/watches?state=active,gone',
  '/v1/watches?order=changed&limit=5',
  '/v1/watches?status=awaiting_human_feedback',
  '/v1/watches?source=ci',
  '/v1/watches?batch=nightly',
  '/v1/watches?metadata.part=active',
  '/v1/batches',
  '/v1/events?limit=200',
  '/v1/events?order=newest&limit=5',
  '/v1/events?type=alert.firing,batch.completed,endpoint.failing',
  '/v1/deliveries?state=pending,parked,skipped',
  '/v1/deliveries?endpoint=derived',
  '/v1/alerts',
  '/v1/silences',
  '/v1/rules',
  '/v1/endpoints',
  '/v1/webhooks',
  '/v1/lookup?prefix=5',
  '/v1/lookup?kind=delivery&prefix=dlv_4b501',
  '/v1/workflows',
  '/v1/polling',
  '/v1/sources',
  '/v1/attention',
  ...LASTING,
];

/** It comes last: a user who has seen a secret stands in the audit log. */
const SECRET_PATH = '/v1/endpoints/derived/secret';

/** What is asked about a store: listings, and of what they list one of each kind. */
async function pathsOf(get: Get): Promise<string[]> {
  const list = async (path: string) => ((await get(path)).body as Page).data;
  const watches = oneOfEach(await list('/v1/watches?limit=200'), ({ source, state, run }) =>
    [source, state, (run as { status: string } | null)?.status].join(' '),
  );
  const deliveries = oneOfEach(await list('/v1/deliveries?limit=200'), ({ state, endpoint }) =>
    [state, endpoint].join(' '),
  );
  const [alerts, batches] = [await list('/v1/alerts'), await list('/v1/batches')];
  const ofWatches = watches.map(({ run_id, source }) => ({
    path: `/v1/watches/${encodeURIComponent(String(run_id))}`,
    query: `?source=${String(source)}`,
  }));
  return [
    ...LISTINGS,
    ...ofWatches.map(({ path, query }) => path + query),
    ...ofWatches.map(({ path, query }) => `${path}/timeline${query}`),
    ...deliveries.map(({ id }) => `/v1/deliveries/${String(id)}`),
    ...alerts.map(({ id }) => `/v1/alerts/${String(id)}`),
    ...batches.map(({ name }) => `/v1/batches/${String(name)}`),
    SECRET_PATH,
  ];
}

/** The first of each kind. */
function oneOfEach<Item>(items: Item[], kindOf: (item: Item) => string): Item[] {
  const kinds = new Map<string, Item>();
  for (const item of items) if (!kinds.has(kindOf(item))) kinds.set(kindOf(item), item);
  return [...kinds.values()];
}

/** Asks all that is asked about a recorded store. */
export async function askAll(get: Get): Promise<RecordedAnswer[]> {
  const answers: RecordedAnswer[] = [];
  for (const path of await pathsOf(get)) answers.push({ path, ...(await ask(get, path)) });
  return answers;
}

/** An answer with its fields in the order of their letters, and without what depends on when it is asked. */
async function ask(get: Get, path: string): Promise<Omit<RecordedAnswer, 'path'>> {
  const { status, body } = await get(path);
  return { status, body: JSON.parse(JSON.stringify(body, settled)) as unknown };
}

function settled(name: string, value: unknown): unknown {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return value;
  const sorted = Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
  // Which requests count against a rate limit, Redis judges by its own time, which goes on.
  return name === 'rate_limit' ? { ...sorted, used: 0 } : sorted;
}

export function answersPath(form: string): URL {
  return new URL(`form-${form}-answers.jsonl`, recordingPath(form));
}

/** What was recorded of the answers, by path. */
export async function readAnswers(form: string): Promise<Map<string, RecordedAnswer>> {
  const lines = (await readFile(answersPath(form), 'utf8')).trimEnd().split('\n');
  const answers = lines.map((line) => JSON.parse(line) as RecordedAnswer);
  return new Map(answers.map((answer) => [answer.path, answer]));
}
