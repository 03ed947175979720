import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { RuleBook, systemAlertEvent } from '../../src/core/alert/entry.ts';
import { labelsOf, meets, roleOf } from '../../src/core/alert/rule.ts';
import type { WatchMatch } from '../../src/core/event/patterns.ts';
import { anAlertEvent, aRule } from '../support/fake-alerts.ts';

const word = fc.constantFrom('a', 'b', 'c');
const some = fc.uniqueArray(word, { minLength: 1, maxLength: 2 });
const when = fc.record(
  { workflow_id: some, source: some, metadata: fc.dictionary(word, some, { maxKeys: 2 }) },
  { requiredKeys: [] },
);
const event = fc.record({
  source: word,
  metadata: fc.dictionary(word, word, { maxKeys: 2 }),
  workflowId: fc.option(word),
  type: fc.constantFrom('run.failed', 'run.completed', 'run.started'),
});

test('a rule judges an event exactly where its when is met and the type concerns it', () => {
  fc.assert(
    fc.property(fc.array(when, { maxLength: 8 }), event, (matches: WatchMatch[], given) => {
      const { workflowId, ...same } = given;
      const run = { runId: 'r', workflowId, name: null, url: null, status: null };
      const judged = anAlertEvent({ ...same, run });
      const rules = matches.map((match, at) => aRule({ name: `rule-${at}`, when: match }));
      const wanted = rules.filter((rule) => meets(rule, judged) && roleOf(rule, judged.type));
      const entry = new RuleBook(rules).entryOf(judged);
      const found = entry?.kind === 'event' ? entry.rules : [];
      expect(found.toSorted()).toEqual(wanted.map(({ name }) => name).toSorted());
    }),
  );
});

test('a system event about a workflow meets conditions of workflows, and is in the group of its own', () => {
  const data = { source: 'default', workflow_id: 'wf-1' };
  const stalled = systemAlertEvent({ id: 'evt_1', type: 'workflow.stalled', at: 0, data });
  const ruleOf = (workflow: string) =>
    aRule({ name: workflow, events: ['workflow.stalled'], when: { workflow_id: [workflow] } });
  const entry = new RuleBook(['wf-1', 'wf-2'].map(ruleOf)).entryOf(stalled);
  expect(entry).toMatchObject({ rules: ['wf-1'] });
  const groupBy = ['source', 'workflow_id'];
  expect(labelsOf({ groupBy }, stalled)).toEqual({ source: 'default', workflow_id: 'wf-1' });
  expect(labelsOf({ groupBy: ['...'] }, stalled)).toMatchObject({ workflow_id: 'wf-1' });
});
