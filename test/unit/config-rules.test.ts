import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { loadConfig } from '../../src/config/load.ts';
import { formatProblem } from '../../src/config/problems.ts';

const cwd = mkdtempSync(join(tmpdir(), 'runwatch-rules-'));
afterAll(() => rmSync(cwd, { recursive: true }));

const BASE = `
sources: { default: { api_key: k } }
endpoints: { chat: { type: log } }
`;

function load(rules: string) {
  writeFileSync(join(cwd, 'f.yaml'), BASE + rules);
  return loadConfig({ purpose: 'serve', env: {}, cwd, configPath: 'f.yaml' });
}

function problemsOf(rules: string): string {
  const loaded = load(rules);
  return loaded.kind === 'invalid' ? loaded.problems.map(formatProblem).join('\n') : '';
}

const rule = (fields: string) => `rules: [{ name: r, notify: [chat], ${fields} }]`;

describe('rules of the configuration', () => {
  test('a rule with a name, events and endpoints has the defaults of the others', () => {
    const loaded = load(rule('events: [run.failed]'));
    expect(loaded.kind === 'loaded' && loaded.config.rules[0]).toMatchObject({
      group_wait: 30_000,
      group_interval: 300_000,
      repeat_interval: 14_400_000,
      max_runs: 5,
      severity: 'error',
    });
    expect(loaded.warnings).toEqual([]);
  });

  test.each([
    ['', 'rules.0.events: expected a list of event types'],
    ['events: [run.faild]', 'did you mean run.failed?'],
    ['events: [run.failed], threshold: { count: 3 }', 'expected one of: count and within'],
    ['events: [run.failed], threshold: { rate: 0.5, of_last: 5, at_least: 9 }', 'at_least up to'],
    ['absent: { event: run.completed }, digest: { at: "08:00" }', 'expected only one of'],
    ['absent: { event: run.completed }, events: [run.failed]', 'it has no effect with absent'],
    ['events: [run.failed], resolve: { after: 1h, events: [run.completed] }', 'expected one of'],
    ['events: [run.failed], group_by: [workflow]', 'expected source, workflow_id'],
    ['events: [run.failed], digest: { at: "8:00" }', 'expected a time such as 08:00'],
    ['events: [run.failed], mute_time_intervals: [nigths]', 'no time interval is named "nigths"'],
    ['deadline: { reference: created_at }', 'expected either interval or of_usual'],
  ])('the rule { %s } is refused with what was expected', (fields, expected) => {
    expect(problemsOf(rule(fields))).toContain(expected);
  });

  test.each([
    ["times: [{ start_time: '22:00', end_time: '06:00' }]", 'a night is two'],
    ["weekdays: ['montag']", 'monday:friday'],
    ["months: ['march:january']", 'january:march'],
    ['location: Lisbon', 'expected a time zone such as Europe/Lisbon'],
  ])('the time interval { %s } is refused with what was expected', (fields, expected) => {
    expect(problemsOf(`time_intervals: { nights: [{ ${fields} }] }`)).toContain(expected);
  });

  test('inhibitions name rules that exist', () => {
    const inhibit = 'inhibit_rules: [{ source_rule: s, target_rule: r }]';
    expect(problemsOf(`${rule('events: [run.failed]')}\n${inhibit}`)).toContain(
      'no rule is named "s"',
    );
  });

  test.each([
    ['events: [run.failed], escalate: [{ after: 1h, notify: [chta] }]', 'did you mean chat?'],
    ['absent: { event: run.completed, within: 26h }', 'set discover of the source'],
    ['events: ["run.*"]', 'set resolve.after or resolve.events'],
    ['events: [run.failed], when: { source: defualt }', 'did you mean default?'],
  ])('the rule { %s } works, with a warning that names the cure', (fields, expected) => {
    const loaded = load(rule(fields));
    expect(loaded.kind).toBe('loaded');
    expect(loaded.warnings.map(formatProblem).join('\n')).toContain(expected);
  });
});
