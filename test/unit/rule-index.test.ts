import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { RuleBook } from '../../src/core/alert/entry.ts';
import { meets, roleOf } from '../../src/core/alert/rule.ts';
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
