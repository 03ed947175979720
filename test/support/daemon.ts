import { pino } from 'pino';
import { configSchema, pollPolicy } from '../../src/config/schema.ts';
import { NO_LOAD } from '../../src/core/cadence/load.ts';
import { UNSTREAMED } from '../../src/core/feed/run-stream.ts';
import { noLinks } from '../../src/core/run/links.ts';
import { AlertRules } from '../../src/alert/rules.ts';
import type { Daemon } from '../../src/daemon.ts';
import type { Stores } from '../../src/daemon/stores.ts';
import { Tracing } from '../../src/daemon/tracing.ts';
import { Endpoints } from '../../src/deliver/endpoints.ts';
import { createSealer } from '../../src/deliver/secrets/seal.ts';
import { NOXUS_TRAITS } from '../../src/noxus/traits.ts';
import { Process } from '../../src/process.ts';
import type { Poller } from '../../src/source/poller.ts';
import { kindOf } from '../../src/source/kinds.ts';
import type { Source } from '../../src/source/source.ts';
import { newMark } from './builders.ts';
import { eventLogTo } from './event-log.ts';

/** Seals what no other installation has to open. */
const NO_KEY = Buffer.alloc(32).toString('base64');

type Primitive = string | number | boolean | null | undefined;

/** Some members of a part: a class with private members would take no object of a test. */
type Members<T> = T extends Primitive | ((...args: never[]) => unknown)
  ? T
  : { [K in keyof T]?: T[K] };

/** What a test gives of an object: some members, and of these the members that it needs. */
type Given<T, Whole extends keyof T> = { [K in keyof T]?: K extends Whole ? T[K] : Members<T[K]> };

type GivenProcess = Omit<Given<Process, 'config' | 'log'>, 'stores'> & {
  stores?: { [S in keyof Stores]?: Members<Stores[S]> };
};

/**
 * A process for the parts of a test. What is not given has the defaults of the configuration, or does
 * nothing; a store that is not given is undefined. A fault that is logged fails the test, unless it gives
 * the log.
 */
export function testProcess(given: GivenProcess = {}): Process {
  const { config = configSchema.parse({ data_dir: '/nowhere' }), log = strictLog() } = given;
  const now = given.now ?? Date.now;
  const { id = 'p1', stores = {} } = given;
  const parts = {
    eventLog: eventLogTo(() => undefined),
    version: '0',
    connections: {},
    clock: { now, timeOfDay: now, skewMs: () => 0 },
    metrics: {},
    tracing: new Tracing(null, noLinks, now),
    names: {},
    alertRules: new AlertRules(config),
    workflowNames: {},
    linksOf: noLinks,
    watchNotes: {},
    kindOf,
    headerFiles: { reread: () => null },
    secrets: { signingSecret: 'a secret of this test', sealer: createSealer([NO_KEY]) },
  } satisfies GivenProcess;
  const made = new TestProcess({ ...parts, config, log, id, stores } as never);
  const endpoints =
    given.endpoints instanceof Endpoints
      ? given.endpoints
      : (Object.assign(Object.create(made.endpoints) as object, given.endpoints) as Endpoints);
  return withStandIns(Object.assign(made, { newMark, ...given, endpoints }), [
    'metrics',
    'names',
    'workflowNames',
    'watchNotes',
    'hostShortages',
  ]);
}

export type GivenDaemon = Omit<Given<Daemon, 'config' | 'log'>, 'stores' | 'poller'> &
  Pick<GivenProcess, 'stores'> & { poller?: Given<Poller, 'process'> };

/** A process with the parts that the API reads. What is not given is as for {@link testProcess}. */
export function testDaemon(given: GivenDaemon = {}): Daemon {
  return withStandIns(testProcess(given) as Daemon, [
    'alerting',
    'batches',
    'dataDirectory',
    'deliverer',
    'poller',
    'processes',
    'reload',
    'storeConditions',
    'storeGuard',
    'unconfigured',
  ]);
}

class TestProcess extends Process {
  async raise(): Promise<void> {}

  dispatch(): void {}

  epoch(): string {
    return 'epoch';
  }
}

type GivenSource = Given<Source, 'process' | 'policy'>;

/** A source for the parts of a test, with an ample rate limit. What is not given does nothing. */
export function testSource(given: GivenSource = {}): Source {
  const { process = testProcess(), name = 'default' } = given;
  const limit = given.limiter?.limit ?? { requests: 1_000, perMs: 1_000 };
  const source = {
    process,
    name,
    policy: pollPolicy(process.config),
    traits: NOXUS_TRAITS,
    type: 'noxus',
    host: 'backend.noxus.ai',
    timeoutMs: 5_000,
    deadlineMs: 10_000,
    health: async () => ({ answeredAt: process.now(), openSince: null, closedFor: null }),
    load: () => NO_LOAD,
    opened: async () => undefined,
    polled: () => undefined,
    wakeAll: async () => undefined,
    ...given,
    agreement: given.agreement ?? { isConsistent: async () => true },
    limiter: {
      secondHoldMs: undefined,
      limit,
      requestsPerMs: limit.requests / limit.perMs,
      active: () => 1,
      claim: async () => null,
      leavesFor: () => null,
      load: () => NO_LOAD,
      usedShare: async () => 0,
      ...given.limiter,
    },
    lists: { wantedPerMs: () => 0, costMultiplier: () => null, ...given.lists },
    discovery: given.discovery ?? { passOver: () => null },
    schedule: given.schedule ?? { countWatches: async () => 0 },
    streams: given.streams ?? { stateOf: async () => UNSTREAMED },
  } satisfies GivenSource;
  const parts = ['observer', 'performer', 'reader', 'slots', 'throttle'];
  return withStandIns(source as unknown as Source, [
    'agreement',
    'discovery',
    'limiter',
    'lists',
    'schedule',
    'streams',
    ...(parts as (keyof Source)[]),
  ]);
}

/** Parts of which the test gives some members get the others, which do nothing. */
function withStandIns<T extends object>(owner: T, names: readonly (keyof T)[]): T {
  for (const name of names) {
    const part: unknown = owner[name] ?? {};
    const isOfTest = Object.getPrototypeOf(part) === Object.prototype;
    if (isOfTest) Object.assign(owner, { [name]: standIn(part as object) });
  }
  return owner;
}

function standIn(given: object): object {
  return new Proxy(given, {
    get: (part, name) => (name === 'then' || name in part ? Reflect.get(part, name) : idle),
  });
}

const idle = (): undefined => undefined;

function strictLog() {
  return pino(
    { level: 'warn' },
    {
      write(line: string) {
        throw new Error(`the process logged ${line}`);
      },
    },
  );
}
