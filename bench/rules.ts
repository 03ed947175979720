import { Alerting } from '../src/alert/alerting.ts';
import { entriesOf, RuleBook } from '../src/core/alert/entry.ts';
import type { Rule } from '../src/core/alert/rule.ts';
import { noLinks } from '../src/core/run/links.ts';
import { buildEvent } from '../src/core/run/transition.ts';
import { newMark, newWatch, NOON, snapshot } from '../test/support/builders.ts';
import { testProcess } from '../test/support/daemon.ts';
import { aRule } from '../test/support/fake-alerts.ts';
import { openStores } from '../test/support/stores.ts';
import { withContext } from './support/context.ts';
import { rounded, type BenchResult } from './support/figures.ts';
import { startRedis } from './support/redis.ts';

interface RulesOptions {
  rules: number;
  /** Groups of each rule that have an alert. */
  groups: number;
  /** Events that are timed of each kind. */
  events: number;
}

/**
 * What rules cost. Measured: the write of an event without rules, beside rules of which none matches,
 * and where one matches; and judging that event while every rule has its groups. Target: at most 1 ms
 * more for an event that matches, nothing to be seen of one that does not.
 */
export async function benchRules({ rules, groups, events }: RulesOptions): Promise<BenchResult> {
  return withContext(async (context) => {
    const redis = await startRedis(context);
    let book = new RuleBook([]);
    const usual = () => null;
    const stores = openStores(
      { url: redis.socket, prefix: 'runwatch' },
      { entriesOf: (change) => entriesOf(book, change, usual) },
    );
    context.onEnd(async () => stores.close());
    const { watches } = stores;
    const all = Array.from({ length: rules }, (_, at) => ruleOf(at));
    const live = { book: new RuleBook(all), inhibitRules: [], sources: ['default'], usual };
    const poller = { inDoubt: async () => new Set<string>(), readSoon: async () => undefined };
    const alerting = new Alerting(testProcess({ stores }), poller, {
      configurations: async () => [],
    });
    const { engine } = Object.assign(alerting, { rules: live });
    let runs = 0;
    const end = async (workflowId: string) => {
      const runId = `run-${(runs += 1)}`;
      const run = snapshot({ id: runId, workflow_id: workflowId, status: 'failed' });
      const before = newWatch({ runId });
      const after = { ...before, run, state: 'finished' as const, endedAt: NOON };
      const change = { before, after, now: NOON, newMark, nodes: null, linksOf: noLinks };
      const event = buildEvent(change, { type: 'run.failed' }, 1);
      await watches.commit({ before: null, after, events: [event], deliveries: [] });
    };
    const timed = async (nameAt: (at: number) => string) => {
      const startedAt = performance.now();
      for (let at = 0; at < events; at += 1) await end(nameAt(at));
      return (performance.now() - startedAt) / events;
    };

    await timed(() => 'warm-up');
    const withoutMs = await timed(() => 'of-no-rule');
    book = live.book;
    const unmatchedMs = await timed(() => 'of-no-rule');
    for (let group = 0; group < rules * groups; group += 1) await end(workflowOf(group, rules));
    const filledAt = performance.now();
    await engine.judge();
    const fillMs = performance.now() - filledAt;
    const matchedMs = await timed((at) => workflowOf(at, rules));
    const judgedAt = performance.now();
    await engine.judge();
    const judgeMs = (performance.now() - judgedAt) / events;
    return {
      figures: [
        { name: 'writing an event without rules', value: rounded(withoutMs), unit: 'ms' },
        {
          name: 'more where no rule matches',
          value: rounded(Math.max(0, unmatchedMs - withoutMs)),
          unit: 'ms',
          target: { atMost: 0.25 },
        },
        {
          name: 'more where a rule matches, judging included',
          value: rounded(Math.max(0, matchedMs - withoutMs) + judgeMs),
          unit: 'ms',
          target: { atMost: 1 },
        },
        { name: 'alerts that are open', value: rules * groups, unit: '' },
        {
          name: 'opening one of these alerts',
          value: rounded(fillMs / (rules * groups)),
          unit: 'ms',
        },
      ],
      details: { rules, groups, events },
    };
  });
}

/** Workflows that a rule names. */
const OWN_WORKFLOWS = 100;

/** Groups of a rule are of workflows that only it is about. */
function workflowOf(at: number, rules: number): string {
  return `workflow-${at % rules}-${Math.floor(at / rules)}`;
}

function ruleOf(at: number): Rule {
  const own = Array.from({ length: OWN_WORKFLOWS }, (_, group) => `workflow-${at}-${group}`);
  return aRule({ name: `rule-${at}`, when: { workflow_id: own } });
}
