import fc from 'fast-check';
import { SUPPRESSIONS, type Alert } from '../../src/core/alert/alert.ts';
import { defaultResolution, type Rule } from '../../src/core/alert/rule.ts';
import {
  AlertReference,
  isAbout,
  isMutedAt,
  keyFor,
  makes,
  type Happening,
  type Spec,
} from './alert-reference.ts';
import { aSilence, AlertStage } from './alert-stage.ts';
import { aRule } from './fake-alerts.ts';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const SOURCES = ['a', 'b'];
const RUNS = 6;
const NOTHING: readonly string[] = [];

function runOf(index: number, type: string): Happening {
  const source = SOURCES[index % SOURCES.length] ?? '';
  return { type, source, workflow: `wf-${index % 3}`, run: `run-${index}` };
}

const KINDS: readonly Spec['kind'][] = [
  ...(['each', 'each', 'each', 'count', 'consecutive', 'rate', 'absent'] as const),
  ...(['deadline', 'digest'] as const),
];

const EVENTS = [['run.failed'], ['run.failed', 'run.stopped'], ['run.stopped']];
const OF_SOURCES = ['source.unreachable'];
const OF_WAITS = ['run.awaiting_human_feedback'];

const spec = (name: string): fc.Arbitrary<Spec> =>
  fc
    .record({
      name: fc.constant(name),
      kind: fc.constantFrom(...KINDS),
      events: fc.constantFrom(...EVENTS, OF_SOURCES, OF_WAITS),
      groupBy: fc.constantFrom(
        ['source', 'workflow_id'],
        ['source', 'workflow_id'],
        ['source'],
        NOTHING,
        ['...'],
        ['event', 'source'],
      ),
      workflow: fc.constantFrom(null, null, 'wf-0'),
      source: fc.constantFrom(null, null, 'a'),
      end: fc.constantFrom<Spec['end']>('default', 'default', 'twice', 'after', 'resumed'),
      within: fc.constantFrom(10 * MINUTE, HOUR),
      keepFiring: fc.constantFrom(0, 0, 20 * MINUTE),
      groupInterval: fc.constantFrom(MINUTE, 5 * MINUTE),
      notify: fc.constantFrom(['chat'], ['chat', 'pager'], ['pager'], ['mail', 'chat']),
      escalate: fc.constantFrom(
        [],
        [],
        [
          { after: 10 * MINUTE, unless: true, notify: 'boss' },
          { after: 2 * HOUR, unless: false, notify: 'pager' },
        ],
      ),
      isMuted: fc.constantFrom(false, false, true),
    })
    // What waits, or is about a source, is grouped by that.
    .map((one) => (one.events === OF_WAITS ? Object.assign(one, { groupBy: ['...'] }) : one))
    .map((one) =>
      one.events === OF_SOURCES ? Object.assign(one, { groupBy: ['source'], workflow: null }) : one,
    );

export const alertSpecs = fc
  .tuple(spec('one'), spec('two'))
  .chain(([one, two]) => fc.constantFrom([one, two], [one, two], [one], [two]));

function must(isRight: boolean, what: string, about?: unknown): void {
  if (!isRight) throw new Error(about === undefined ? what : `${what} ${JSON.stringify(about)}`);
}

const index = fc.nat({ max: 5 });

export const alertStep = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      does: fc.constant('happen' as const),
      run: fc.nat({ max: RUNS - 1 }),
      type: fc.constantFrom(
        'run.failed',
        'run.failed',
        'run.failed',
        'run.completed',
        'run.stopped',
        'run.awaiting_human_feedback',
        'run.resumed',
        'run.gone',
        'source.unreachable',
        'source.recovered',
      ),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      does: fc.constant('wait' as const),
      ms: fc.constantFrom(
        SECOND,
        29 * SECOND,
        31 * SECOND,
        61 * SECOND,
        4 * MINUTE,
        6 * MINUTE,
        25 * MINUTE,
        HOUR,
        5 * HOUR,
        26 * HOUR,
      ),
    }),
  },
  fc.record({ does: fc.constant('late' as const), run: fc.nat({ max: RUNS - 1 }) }),
  fc.record({ does: fc.constant('leave' as const), run: fc.nat({ max: RUNS - 1 }) }),
  fc.record({ does: fc.constantFrom('ack' as const, 'ackBriefly' as const), index }),
  fc.record({ does: fc.constantFrom('unack' as const, 'resolve' as const), index }),
  fc.record({ does: fc.constant('silence' as const), rule: fc.constantFrom('one', 'two') }),
  fc.record({ does: fc.constantFrom('expire' as const, 'doubt' as const, 'down' as const) }),
  { weight: 2, arbitrary: fc.record({ does: fc.constant('reload' as const), specs: alertSpecs }) },
  fc.record({ does: fc.constant('other' as const), specs: alertSpecs }),
  fc.record({ does: fc.constantFrom('swap' as const, 'settle' as const, 'sources' as const) }),
);

type Sent = AlertStage['sent'][number];

type StepOf = typeof alertStep extends fc.Arbitrary<infer Value> ? Value : never;

function ruleOf(one: Spec): Rule {
  const { events, groupBy, groupInterval: groupIntervalMs, workflow, source } = one;
  const none = { events: [], count: 1, settleMs: 0, afterMs: null };
  const ends = {
    default: () => defaultResolution({ events, groupBy, groupIntervalMs }),
    twice: () => ({ ...none, events: ['run.completed'], count: 2 }),
    after: () => ({ ...none, afterMs: HOUR }),
    resumed: () => ({ ...none, events: ['run.resumed'] }),
  };
  const conditions: Record<Spec['kind'], Rule['condition']> = {
    each: { kind: 'each' },
    count: { kind: 'count', count: 3, withinMs: one.within },
    consecutive: { kind: 'consecutive', count: 2 },
    rate: { kind: 'rate', rate: 0.5, ofLast: 4, atLeast: 2 },
    absent: { kind: 'absent', event: 'run.completed', withinMs: one.within },
    deadline: {
      kind: 'deadline',
      reference: 'created_at',
      limit: { kind: 'interval', ms: one.within },
    },
    digest: { kind: 'digest', schedule: { minute: 8 * 60, location: 'UTC' } },
  };
  const when = {
    ...(workflow !== null && { workflow_id: [workflow] }),
    ...(source !== null && { source: [source] }),
  };
  return aRule({
    name: one.name,
    events: one.kind === 'absent' || one.kind === 'deadline' ? [] : events,
    when: Object.keys(when).length === 0 ? undefined : when,
    groupBy,
    groupIntervalMs,
    repeatIntervalMs: 6 * HOUR,
    condition: conditions[one.kind],
    keepFiringForMs: one.keepFiring,
    resolve: ends[one.end](),
    notify: one.notify,
    pagers: ['pager'],
    mute: one.isMuted
      ? [{ name: 'nights', times: [{ from: 23 * 60, to: 24 * 60 }], location: 'UTC' }]
      : [],
    escalate: one.escalate.map(({ after, unless, notify }) => ({
      afterMs: after,
      unlessAcknowledged: unless,
      notify: [notify],
    })),
  });
}

const INHIBIT_RULES = [
  { sourceRule: 'one', targetRule: 'two', equal: ['source'] },
  { sourceRule: 'two', targetRule: 'one', equal: ['source'] },
];

/** The engine and the reference, side by side. */
export class AlertLife {
  private readonly stage: AlertStage;
  private readonly reference = new AlertReference();
  /** What each endpoint was told last of an alert. */
  private readonly told = new Map<string, 'open' | 'resolved'>();
  private seen = 0;
  /** The configuration of this process, and that of another. */
  private other: readonly Spec[] | null = null;
  private readonly since: number;

  constructor(
    private specs: readonly Spec[],
    isInhibited: boolean,
  ) {
    this.stage = new AlertStage(specs.map(ruleOf), {
      sources: SOURCES,
      inhibit: isInhibited ? INHIBIT_RULES : [],
    });
    this.since = this.stage.now;
  }

  take(one: StepOf): void {
    const { stage } = this;
    const id = 'index' in one ? stage.open()[one.index]?.id : undefined;
    switch (one.does) {
      case 'happen':
        return this.happen(runOf(one.run, one.type));
      case 'wait':
        return this.wait(one.ms);
      case 'late':
        return this.late(runOf(one.run, 'run.late'));
      case 'leave':
        return this.leave(runOf(one.run, ''));
      case 'ack':
      case 'ackBriefly':
        if (id !== undefined) {
          stage.acknowledge(one.does === 'ack' ? null : stage.now + HOUR, id);
        }
        return;
      case 'unack':
        if (id !== undefined) stage.act({ kind: 'unacknowledge' }, id);
        return;
      case 'resolve':
        return this.resolve(id);
      case 'silence':
        const ofRule = { matchers: { rule: [one.rule] }, startsAt: stage.now };
        const ids = { id: `sil_${stage.silences.length}`, until: stage.now + HOUR };
        stage.silences.push(aSilence({ ...ids, ...ofRule }));
        return;
      case 'expire':
        return void (stage.silences.length = 0);
      case 'doubt':
        return void (stage.inDoubt.delete('a') || stage.inDoubt.add('a'));
      case 'down':
        stage.down(3 * HOUR);
        this.reference.pass(3 * HOUR);
        // The next process begins with what has become due.
        return this.use(this.specs);
      case 'reload':
        return this.use(one.specs);
      case 'other':
        this.other = one.specs;
        return void (stage.isMixed = true);
      case 'swap':
        if (this.other === null) return;
        const next = this.other;
        this.other = this.specs;
        return this.use(next);
      case 'settle':
        this.other = null;
        stage.isMixed = false;
        return;
      case 'sources':
        stage.sources = stage.sources.length === 1 ? SOURCES : ['a'];
        this.reference.reload();
        return this.use(this.specs);
    }
  }

  check(): void {
    this.checkSent();
    this.checkGroups();
    this.checkCauses();
  }

  /** After a quiet time, only what something keeps open is open; without rules, nothing is. */
  end(): void {
    const { stage } = this;
    this.take({ does: 'settle' });
    stage.sources = SOURCES;
    this.use(this.specs);
    stage.inDoubt.clear();
    stage.silences.length = 0;
    for (const alert of stage.open()) stage.act({ kind: 'unacknowledge' }, alert.id);
    this.wait(2 * HOUR);
    this.expectVoices();
    stage.inhibit = [];
    this.wait(9 * DAY);
    for (const alert of stage.open()) {
      const own = this.specNamed(alert.rule);
      if (own === undefined) throw new Error(`${alert.rule} is gone, and its alert is open`);
      this.expectTold(own, alert);
    }
    this.use([]);
    this.wait(2 * MINUTE);
    must(stage.open().length === 0, 'an alert of no rule is open');
    must(![...this.told.values()].includes('open'), 'an end was not told');
    this.wait(31 * DAY);
    must(stage.kept() === 0, 'groups are kept without a rule');
  }

  private specNamed(name: string): Spec | undefined {
    return this.specs.find((one) => one.name === name);
  }

  private expectTold({ notify }: Spec, { id }: Alert): void {
    for (const name of notify) {
      must(this.told.get(`${name} ${id}`) === 'open', `${name} was not told of ${id}`);
    }
  }

  /** Rules that inhibit one another do not silence one another. */
  private expectVoices(): void {
    if (this.specs.some(({ isMuted }) => isMuted)) return;
    // What is collected for a digest fires at no time.
    const open = this.stage.open().filter(({ rule }) => this.specNamed(rule)?.kind !== 'digest');
    const isTold = ({ notified }: Alert) => notified.length > 0;
    must(open.length === 0 || open.some(isTold), 'all alerts are inhibited');
  }

  private use(next: readonly Spec[]): void {
    if (next !== this.specs) this.reference.reload();
    this.specs = next;
    this.stage.use(next.map(ruleOf));
    this.wait(0);
  }

  private wait(ms: number): void {
    this.stage.wait(ms);
    // What is seen of rules and of time goes by the configuration of that time.
    this.check();
  }

  private happen(about: Happening): void {
    const isOfSource = about.type.startsWith('source.');
    const { type, source, run, workflow } = isOfSource
      ? { ...about, run: '', workflow: '' }
      : about;
    this.check();
    const { stage } = this;
    stage.judge(type, {
      source,
      run: isOfSource
        ? null
        : { runId: run, workflowId: workflow, name: null, url: null, status: type.slice(4) },
    });
    for (const one of this.specs) {
      this.reference.happen(one, { type, source, run, workflow }, stage.now);
    }
  }

  private late(about: Happening): void {
    // A deadline that passes now is another one than those of which a user has ended an alert just before.
    this.wait(1);
    const { source, workflow: workflowId, run: runId } = about;
    const run = { runId, workflowId, name: null, url: null, status: 'running' };
    this.stage.late(runId, { source, run });
    for (const one of this.specs) this.reference.late(one, about, this.stage.now);
  }

  private leave(about: Happening): void {
    this.check();
    const { source, workflow: workflowId, run: runId } = about;
    const run = { runId, workflowId, name: null, url: null, status: 'failed' };
    this.stage.leave(runId, { source, run });
    for (const one of this.specs) this.reference.leave(one, about);
  }

  private resolve(id: string | undefined): void {
    const alert = this.stage.open().find((one) => one.id === id);
    if (alert === undefined) return;
    this.stage.act({ kind: 'resolve', resolvedBy: { by: 'ana', comment: null } }, id);
    this.reference.forget(keyFor(alert.rule, alert.labels));
    must(!this.stage.open().some((one) => one.id === id), `${id} goes on`);
  }

  /** What is sent of an alert is the last that has happened to it; its record is in order, and bounded. */
  private checkHistory({ alert, digest, eventId, notify }: Sent): void {
    const { history = [] } = alert;
    const times = history.map(({ at }) => at);
    must(history.length <= 50, 'a history has no bound');
    must(times.toSorted((a, b) => a - b).join() === times.join(), 'a history is not in order');
    const last = history.at(-1);
    // Of what a mute has held, the digest or the end is sent later.
    const isOther = digest !== null || alert.state === 'resolved';
    if (isOther && last?.eventId !== eventId) return;
    must(last?.eventId === eventId, 'a history lacks what was sent', { last, eventId });
    must(last?.to?.join() === notify.join(), 'a history names other endpoints', { last, notify });
  }

  /** Each endpoint gets one firing, and one resolve after it, of what its rule says at that time. */
  private checkSent(): void {
    const { sent } = this.stage;
    for (; this.seen < sent.length; this.seen += 1) {
      const one = sent[this.seen];
      if (one === undefined) continue;
      const { kind, alert, notify, digest, at } = one;
      this.checkHistory(one);
      const own = this.specNamed(alert.rule);
      for (const name of notify) {
        const items = digest?.alerts.filter(({ state }) => state !== 'resolved') ?? [];
        const ids = digest === null ? [alert.id] : items.map(({ id }) => id);
        must(digest === null || name !== 'pager', 'a pager got a digest');
        if (digest?.reason === 'schedule') continue;
        for (const id of ids) this.note(`${name} ${id}`, digest === null ? kind : 'digest');
        if (kind === 'resolved') continue;
        const names = [...(own?.notify ?? []), ...(own?.escalate ?? []).map((step) => step.notify)];
        must(names.includes(name), `${alert.rule} does not notify ${name}`);
      }
      if (kind === 'resolved' || own === undefined) continue;
      const isOfRule = digest !== null || makes(own, alert.labels);
      const isMuted = kind !== 'acknowledged' && isMutedAt(own, at);
      must(isOfRule && !isMuted, 'what no rule says was told', { one, isOfRule, isMuted });
      const step = own.escalate[(one.escalation?.step ?? 0) - 1];
      must(step?.unless !== true || alert.acknowledged === null, 'an excused step was taken');
    }
  }

  private note(key: string, kind: string): void {
    const before = this.told.get(key);
    const isFirst = before === undefined;
    const isRight = kind === 'firing' ? isFirst : kind === 'digest' || before === 'open';
    must(isRight, `${key} was told ${kind} after ${before ?? 'nothing'}`);
    this.told.set(key, kind === 'resolved' ? 'resolved' : 'open');
  }

  /** What was told is open, or told at the end of a mute; what is kept is of use. */
  private checkGroups(): void {
    const { stage } = this;
    must(stage.spinning.length === 0, 'a timer was due again at once');
    const groups = [...stage.groups.values()];
    const open = groups.flatMap((group) => group.open?.alert ?? []);
    const ended = groups.flatMap(({ held }) => held?.ended ?? []);
    const known = new Set([...open, ...ended].map(({ id }) => id));
    for (const [key, state] of this.told) {
      const isKnown = known.has(key.split(' ')[1] ?? '');
      must(state !== 'open' || isKnown, `${key} is over, and was not told`);
    }
    for (const [key, at] of stage.due) {
      must(at >= stage.now, `${key} was due at ${at - this.since}`);
    }
    const { counts } = stage;
    const sum = SUPPRESSIONS.reduce((total, reason) => total + counts[reason], counts.notified);
    must(sum + counts.waiting === counts.observed, 'counts do not add up', counts);
  }

  /** Alerts are open where the reference says so, and count its runs. */
  private checkCauses(): void {
    const { stage, reference } = this;
    const open = new Map(
      [...stage.groups.values()].flatMap(({ rule, labels, kind, open: one }) =>
        one === null ? [] : [[keyFor(rule, labels), { alert: one.alert, kind }] as const],
      ),
    );
    for (const [key, cause] of reference.causes) {
      const there = open.get(key);
      const alert = there?.kind === cause.kind ? there.alert : undefined;
      const own = this.specNamed(cause.rule);
      const isKnown =
        own?.kind === cause.kind &&
        makes(own, cause.labels) &&
        stage.sources.includes(cause.labels['source'] ?? 'a');
      const [isMade = false, ...wasMade] = cause.abouts.map(
        (about) => isKnown && isAbout(own, about),
      );
      if (!isMade || own === undefined) {
        // The rule may be about what came before. What waits to be sent of a source that is gone goes first,
        // within a group interval and two minutes.
        const mayGoOn = wasMade.includes(true);
        cause.goneSince = mayGoOn ? null : (cause.goneSince ?? stage.now);
        const isTolerated = mayGoOn || stage.now <= (cause.goneSince ?? 0) + 17 * MINUTE;
        if (alert === undefined) reference.forget(key);
        else must(isTolerated, `${key} goes on without its rule`);
        continue;
      }
      cause.goneSince = null;
      const isOpen = reference.isOpen(own, cause, stage.now);
      // What is over is notified first, where it was not yet.
      const isRight = isOpen
        ? alert !== undefined
        : alert === undefined || alert.state === 'pending';
      must(isRight, `${key} is ${alert?.state ?? 'over'}`, { isOpen, cause, own, alert });
      if (alert !== undefined && cause.kind !== 'consecutive') {
        must(alert.runsTotal === cause.runs.size, `${key} counts ${alert.runsTotal} runs`, cause);
      }
      if (alert === undefined) reference.causes.delete(key);
    }
    for (const [key, { alert, kind }] of open) {
      const isModelled = kind === 'each' || kind === 'deadline';
      const isOfRule = this.specNamed(alert.rule)?.kind === kind;
      const hasCause = reference.causes.has(key) || this.other !== null;
      must(!isModelled || !isOfRule || hasCause, `${key} is open without a cause`);
    }
  }
}
