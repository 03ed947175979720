import { z } from 'zod';
import type { Random } from '../core/backoff.ts';
import { RunwatchError } from '../core/errors.ts';
import { seededRandom } from './seeded-random.ts';

const MAX_RULES = 10_000;

/** The requests that a fault applies to; the same for every kind of fault. */
const rule = {
  /** Only reads, streams and stops of this run; absent: every call of the Noxus API. */
  run_id: z.string().min(1).max(128).optional(),
  /** Only lists, reads of runs, event streams, stops of runs, or other calls; absent: all. */
  on: z.enum(['list', 'run', 'stream', 'stop', 'other']).optional(),
  /** The number of requests until the fault ends; absent: until cleared. */
  count: z.int().min(1).max(1_000_000).optional(),
  /** The share of matching requests that it applies to; absent: all. */
  probability: z.number().gt(0).max(1).optional(),
  /** Makes `probability` repeatable. */
  seed: z.int().min(0).max(0xffff_ffff).optional(),
};

const milliseconds = z.int().min(0).max(3_600_000);

/** The faults between Noxus and its client. */
export const faultSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('status'),
    status: z.int().min(300).max(599),
    /** The HTML page of a proxy in place of Noxus's answer. */
    is_html: z.boolean().default(false),
    /** Seconds to ask the client to wait for; absent: no `Retry-After`. */
    retry_after: z.int().min(0).max(1_000_000).optional(),
    retry_after_form: z.enum(['seconds', 'date']).default('seconds'),
    ...rule,
  }),
  /** The right answer, `ms` late. */
  z.strictObject({ kind: z.literal('stall'), ms: milliseconds, ...rule }),
  /** The right answer with its body spread over `ms`, so that an idle time-out never fires. */
  z.strictObject({ kind: z.literal('drip'), ms: milliseconds, ...rule }),
  /** The connection is reset before the answer. */
  z.strictObject({ kind: z.literal('reset'), ...rule }),
  /** 200 with the HTML page of some proxy. */
  z.strictObject({ kind: z.literal('html'), ...rule }),
  /** 200, well framed, with the first half of the right answer. */
  z.strictObject({ kind: z.literal('truncated'), ...rule }),
  /** 200 with a huge body and no `content-length`. */
  z.strictObject({
    kind: z.literal('oversize'),
    bytes: z.int().min(1).max(268_435_456).default(2_097_152),
    ...rule,
  }),
  /** 200 with the type of JSON, and bytes that are neither JSON nor UTF-8. */
  z.strictObject({ kind: z.literal('garbage'), ...rule }),
  /** 200 with a run that was not requested. */
  z.strictObject({ kind: z.literal('other_run'), ...rule }),
  /** 200 with valid JSON that is neither a run nor a page of runs. */
  z.strictObject({ kind: z.literal('wrong_shape'), ...rule }),
  /**
   * 200 with this status for every run in it, true or not, as from a stale cache. In a stream, every
   * `state` event has it.
   */
  z.strictObject({
    kind: z.literal('claim'),
    status: z.string().min(1).max(64),
    progress: z.int().optional(),
    /** The claimed `finished_at`, ms from now; for statuses that end a run. */
    finished_in_ms: z.int().min(-31_536_000_000).max(31_536_000_000).default(0),
    /** Of the runs in an answer, one in so many: the same ones each time. */
    one_in: z.int().min(1).max(1_000_000).default(1),
    ...rule,
  }),
  /** The right answer, compressed even if the client does not accept that. */
  z.strictObject({ kind: z.literal('compressed'), encoding: z.enum(['gzip', 'br']), ...rule }),
  /** The right page with a document of this many bytes before each run's private fields. */
  z.strictObject({ kind: z.literal('bulky'), bytes: z.int().min(1).max(67_108_864), ...rule }),
  /** The right answer of this long ago, as from a replica that lags. */
  z.strictObject({ kind: z.literal('lag'), ms: milliseconds, ...rule }),
  /**
   * Shifts pages after the first, as if this many runs had been created since the first was read. A
   * negative number stands for deleted runs.
   */
  z.strictObject({ kind: z.literal('shift'), by: z.int().min(-1_000).max(1_000), ...rule }),
  /** A stream opens and sends nothing; any other call gets the headers only. */
  z.strictObject({ kind: z.literal('silence'), ...rule }),
  /** A stream is right for this long, then the connection breaks; any other call breaks at once. */
  z.strictObject({ kind: z.literal('drop'), after_ms: milliseconds, ...rule }),
  /** A stream sends one endless line. */
  z.strictObject({ kind: z.literal('endless_line'), ...rule }),
]);

/** The kinds of calls that a fault may be limited to. */
export type FaultPlace = NonNullable<Fault['on']>;

export type Fault = z.output<typeof faultSchema>;
export type FaultInput = z.input<typeof faultSchema>;

interface ActiveFault {
  fault: Fault;
  left: number;
  random: Random;
}

/** The active faults. Those of one run come before those for all, older before newer. */
export class FaultTable {
  readonly #byRun = new Map<string, ActiveFault[]>();
  #forAll: ActiveFault[] = [];
  #size = 0;

  /** The number of active faults. */
  get size(): number {
    return this.#size;
  }

  /** @throws RunwatchError `too_many_faults` */
  add(input: FaultInput): Fault {
    if (this.#size >= MAX_RULES) {
      throw new RunwatchError(`at most ${MAX_RULES} faults`, { code: 'too_many_faults' });
    }
    const fault = faultSchema.parse(input);
    const active = {
      fault,
      left: fault.count ?? Infinity,
      random: seededRandom(fault.seed ?? 0),
    };
    this.#rulesFor(fault.run_id).push(active);
    this.#size += 1;
    return fault;
  }

  clear(): void {
    this.#byRun.clear();
    this.#forAll = [];
    this.#size = 0;
  }

  /** The fault for this request, which counts as used; `runId` is null for calls of no one run. */
  take(runId: string | null, place: FaultPlace): Fault | null {
    if (this.#size === 0) return null;
    const own = runId === null ? undefined : this.#byRun.get(runId);
    return (own && this.#takeFrom(own, place)) ?? this.#takeFrom(this.#forAll, place);
  }

  #rulesFor(runId: string | undefined): ActiveFault[] {
    if (runId === undefined) return this.#forAll;
    const rules = this.#byRun.get(runId) ?? [];
    this.#byRun.set(runId, rules);
    return rules;
  }

  #takeFrom(rules: ActiveFault[], place: FaultPlace): Fault | null {
    const index = rules.findIndex(
      ({ fault, random }) => (fault.on ?? place) === place && random() < (fault.probability ?? 1),
    );
    const active = rules[index];
    if (active === undefined) return null;
    active.left -= 1;
    if (active.left === 0) {
      rules.splice(index, 1);
      this.#size -= 1;
      this.#forget(active.fault.run_id, rules);
    }
    return active.fault;
  }

  #forget(runId: string | undefined, rules: ActiveFault[]): void {
    if (runId !== undefined && rules.length === 0) this.#byRun.delete(runId);
  }
}
