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
workflows: { wf-1: { name: invoices } }
time_intervals:
  always: [{ location: Europe/Lisbon }]
  days: [{ times: [{ start_time: '06:00', end_time: '22:00' }] }]
  nights: [{ times: [{ start_time: '22:00', end_time: '24:00' }, { start_time: '00:00', end_time: '06:00' }] }]
  summer: [{ months: ['june:august'] }]
endpoints: { chat: { type: log } }
`;

function load(rules: string, base = BASE) {
  writeFileSync(join(cwd, 'f.yaml'), base + rules);
  return loadConfig({ purpose: 'serve', env: {}, cwd, configPath: 'f.yaml' });
}

function problemsOf(rules: string, base = BASE): string {
  const loaded = load(rules, base);
  return loaded.kind === 'invalid' ? loaded.problems.map(formatProblem).join('\n') : '';
}

/** A rule that notifies an endpoint, unless its fields say of which. */
const rule = (fields: string) =>
  `rules: [{ name: r, ${fields.includes('notify: [nowhere') ? '' : 'notify: [chat], '}${fields} }]`;

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
    ['events: [run.failed], threshold: { count: 3 }', 'threshold.within: expected it beside count'],
    [
      'events: [run.failed], threshold: { of_last: 3 }',
      'threshold.rate: expected it beside of_last',
    ],
    [
      'events: [run.failed], threshold: { count: 3, rate: 0.5 }',
      'expected one of: count and within',
    ],
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
    const intervals = BASE.replace('location: Europe/Lisbon', fields);
    expect(problemsOf('', intervals)).toContain(expected);
  });

  test('inhibitions name rules that exist', () => {
    const inhibit = 'inhibit_rules: [{ source_rule: s, target_rule: r }]';
    expect(problemsOf(`${rule('events: [run.failed]')}\n${inhibit}`)).toContain(
      'no rule is named "s"',
    );
  });

  test.each([
    ['{ source_rule: r, target_rule: r }', 'alerts of r inhibit one another'],
    [
      '{ source_rule: r, target_rule: s }, { source_rule: s, target_rule: r }',
      'r and s inhibit one another in a circle',
    ],
  ])('inhibitions %s are a circle, with a warning', (inhibits, expected) => {
    const named = (name: string) => `{ name: ${name}, events: [run.failed], notify: [chat] }`;
    const two = `rules: [${named('r')}, ${named('s')}]`;
    const loaded = load(`${two}\ninhibit_rules: [${inhibits}]`);
    expect(loaded.warnings.map(formatProblem).join('\n')).toContain(expected);
  });

  test('a rule that counts ends of a run has a warning, unless its source counts attempts', () => {
    const fields = "events: [run.failed], threshold: { count: 2, within: 1h }, group_by: ['...']";
    const http =
      "{ type: http, base_url: 'https://ci.example', probe: /up, states: { failed: [red] }, run: " +
      "{ get: '/{run}', id: $.id, status: $.s, attempt: $.n } }";
    const base = BASE.replace('sources: {', `sources: { ci: ${http},`);
    const warned = (when: string) => {
      const loaded = load(rule(`${fields}, when: { source: ${when} }`), base);
      expect(loaded.kind).toBe('loaded');
      return loaded.warnings.map(formatProblem).join('\n').includes('a run ends once');
    };
    expect(['default', 'ci', '[ci, default]'].map(warned)).toEqual([true, false, false]);
  });

  test('a digest that notifies a pager has a warning that names the cure', () => {
    const base = BASE.replace(
      '{ type: log } }',
      '{ type: log }, pager: { type: pagerduty, routing_key: 0123456789abcdef0123456789abcdef } }',
    );
    const daily = 'events: [run.failed], digest: { at: "08:00" }, notify: [chat, pager]';
    const loaded = load(`rules: [{ name: r, ${daily} }]`, base);
    expect(loaded.warnings.map(formatProblem).join('\n')).toContain(
      'pager pages, and a digest is not sent there: notify a chat or mail',
    );
  });

  test.each([
    ['events: [run.failed], escalate: [{ after: 1h, notify: [chta] }]', 'did you mean chat?'],
    ['absent: { event: run.completed, within: 26h }', 'set discover of the source'],
    ['events: ["run.*"], resolve: { success_threshold: 1 }', 'could only be ended by hand'],
    ['events: [run.failed], when: { source: defualt }', 'did you mean default?'],
    ['events: [run.failed], notify: [nowhere]', 'named "nowhere"; expected one of: chat'],
    ['events: [run.failed], when: { workflow_id: invoices }', 'give its id, wf-1'],
    ['events: [run.failed], when: { workflow_id: [orders] }', 'no run matches: give the id'],
    ['events: ["discovery.*"]', 'set discover of the source'],
    [
      'events: [source.unreachable], resolve: { success_threshold: 1 }',
      'run.completed says nothing of source.unreachable, so that its alerts could only be ended by hand',
    ],
    [
      "events: [run.failed], group_by: ['...'], resolve: { success_threshold: 1 }",
      'nothing follows run.failed in a group of one run',
    ],
    [
      'events: [run.failed], group_by: [event], resolve: { events: [run.completed] }',
      'no group has events of two types',
    ],
    [
      'deadline: { interval: 1h }, keep_firing_for: 10m',
      'keep_firing_for: it has no effect with deadline',
    ],
    [
      'events: ["source.*"], resolve: { events: [source.recovered] }',
      'set resolve.after or other events',
    ],
    ['events: [source.unreachable], when: { workflow_id: wf-1 }', 'never matches: leave it out'],
    ['events: [workflow.stalled], when: { metadata: { env: prod } }', 'is about no run'],
    ['events: ["endpoint.*"], when: { metadata: { env: prod } }', 'is about no run'],
    ['events: [endpoint.failing], when: { source: default }', 'is about no source'],
    ['absent: { event: source.recovered }, when: { workflow_id: wf-1 }', 'is about no run'],
    [
      "events: [run.failed], threshold: { consecutive: 3 }, group_by: ['...']",
      '3 are never reached: group by workflow_id',
    ],
    [
      "events: [run.failed], threshold: { count: 2, within: 1h }, group_by: [source, '...']",
      'a run ends once',
    ],
    ['events: [run.failed], mute_time_intervals: [always]', 'leave no time at which it notifies'],
    ['events: [run.failed], mute_time_intervals: [days, nights]', 'leave no time'],
    [
      'events: [run.failed], resolve: { events: [run.failed] }',
      'set resolve.after or other events',
    ],
    ['events: [run.failed], for: 10m', 'for: it has no effect without threshold'],
  ])('the rule { %s } works, with a warning that names the cure', (fields, expected) => {
    const loaded = load(rule(fields));
    expect(loaded.kind).toBe('loaded');
    expect(loaded.warnings.map(formatProblem).join('\n')).toContain(expected);
  });

  test.each([
    'events: [run.failed], when: { workflow_id: wf-1, source: default }',
    'events: [source.unreachable], when: { source: default }, resolve: { events: [source.recovered] }',
    'events: ["run.*"]',
    'events: [source.unreachable]',
    "events: [run.failed], group_by: ['...']",
    "events: [run.awaiting_human_feedback], group_by: ['...']",
    'events: [run.failed], keep_firing_for: 10m',
    'events: [run.failed, source.unreachable], when: { workflow_id: wf-1 }',
    'events: [workflow.stalled], when: { workflow_id: wf-1, source: default }, resolve: { events: [workflow.recovered] }',
    "events: [run.progress], threshold: { count: 3, within: 1h }, group_by: ['...'], resolve: {}",
    'events: [run.failed], threshold: { consecutive: 3 }, for: 10m',
    'events: [run.failed], mute_time_intervals: [nights]',
    'events: [run.failed], mute_time_intervals: [summer]',
    'deadline: { interval: 1h }, when: { workflow_id: wf-1 }',
  ])('the rule { %s } fires, and there is no warning', (fields) => {
    const loaded = load(rule(fields.replace(', resolve: {}', '')));
    expect(loaded.warnings.map(formatProblem)).toEqual([]);
  });
});
