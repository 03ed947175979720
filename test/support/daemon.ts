import { pino } from 'pino';
import { configSchema } from '../../src/config/schema.ts';
import { noLinks } from '../../src/core/run/links.ts';
import { AlertRules } from '../../src/alert/rules.ts';
import type { Stores } from '../../src/daemon/stores.ts';
import { UNTRACED } from '../../src/daemon/tracing.ts';
import { createSealer } from '../../src/deliver/secrets/seal.ts';
import { Process } from '../../src/process.ts';
import { newMark } from './builders.ts';
import { eventLogTo } from './event-log.ts';

/** Seals what no other installation has to open. */
const NO_KEY = Buffer.alloc(32).toString('base64');

type Primitive = string | number | boolean | null | undefined;

/** Some members of a part: a class with private members would take no object of a test. */
type Members<T> = T extends Primitive | ((...args: never[]) => unknown)
  ? T
  : { [K in keyof T]?: T[K] };

/** What a test gives of a process: some members, and of these the members that it needs. */
type GivenProcess = {
  [K in keyof Process]?: K extends 'config' | 'endpoints' | 'log'
    ? Process[K]
    : K extends 'stores'
      ? { [S in keyof Stores]?: Members<Stores[S]> }
      : Members<Process[K]>;
};

/**
 * A process for the parts of a test. What is not given has the defaults of the configuration, or does
 * nothing; a store that is not given is undefined. A fault that is logged fails the test, unless it gives
 * the log.
 */
export function testProcess(given: GivenProcess = {}): Process {
  const { config = configSchema.parse({ data_dir: '/nowhere' }), log = strictLog() } = given;
  const now = given.now ?? Date.now;
  const parts = {
    eventLog: eventLogTo(() => undefined),
    version: '0',
    id: 'p1',
    connections: {},
    stores: {},
    clock: { now, timeOfDay: now, skewMs: () => 0 },
    metrics: {},
    tracing: UNTRACED,
    names: {},
    alertRules: new AlertRules(config),
    workflowNames: {},
    linksOf: noLinks,
    watchNotes: {},
    secrets: { signingSecret: 'a secret of this test', sealer: createSealer([NO_KEY]) },
  } satisfies GivenProcess;
  const idle = ['metrics', 'names', 'workflowNames', 'watchNotes', 'hostShortages'] as const;
  const made = new TestProcess({ ...parts, config, log } as never);
  const own: Partial<Record<keyof Process, unknown>> = { newMark, ...given };
  for (const name of idle) own[name] = standIn(own[name] ?? {});
  return Object.assign(made, own);
}

class TestProcess extends Process {
  async raise(): Promise<void> {}

  dispatch(): void {}

  epoch(): string {
    return 'epoch';
  }
}

/** A part of which the test gives some members; the others do nothing. */
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
