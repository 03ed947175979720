import { expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { createLinksOf } from '../../src/core/run/links.ts';
import { noxusIdOf } from '../../src/cli/local/run-reader.ts';
import { readRunUrl, runsAt, type RunAddresses } from '../../src/core/run/run-address.ts';
import { declaredTraits } from '../../src/declared/traits.ts';
import { NOXUS_TRAITS } from '../../src/noxus/traits.ts';
import { configSchema } from '../../src/config/schema.ts';
import { newWatch, snapshot } from '../support/builders.ts';

const UUID = '6f1c9a52-5b1e-4a55-9d3c-0c5f0a1b2c3d';
const WORKFLOW = '3f0c6f0e-5d0a-4a57-9f1e-0f0f2a6b8c11';

function addresses(source: string, ...templates: string[]): RunAddresses {
  return {
    source,
    templates,
    places: [],
    traits: {
      idProblem: (id) => (/^[!-~]+$/.test(id) ? null : 'expected no spaces'),
      canonicalId: (id) => id,
      idParts: [],
      idInUrl: () => null,
    },
  };
}

/** A source with the ids and pages of Noxus. */
function noxus(source: string, baseUrl: string, ...templates: string[]): RunAddresses {
  return {
    source,
    templates,
    places: [baseUrl],
    traits: NOXUS_TRAITS,
  };
}

const idsAt = (text: string, ...all: RunAddresses[]) =>
  runsAt(readRunUrl(text)!, all).map(({ source, runId }) => `${source} ${runId}`);

test.each([
  ['https://ci.example/{run_id}', 'https://ci.example/run-1'],
  ['https://ci.example/{run_id}', 'https://CI.example:443/run-1/?tab=logs#top'],
  ['https://ci.example/{run_id}/', 'https://ci.example/run-1'],
  ['https://ci.example/w/{workflow_id}/{run_id}/logs', 'http://ci.example/w/a%2Fb/run-1/logs'],
  ['https://ci.example/{group_id}-{run_id}', 'https://ci.example/g-run-1'],
  ['https://ci.example/?id={run_id}', 'https://ci.example/?page=2&id=run-1&tab=x#y'],
  ['https://ci.example/#/runs/{run_id}', 'https://ci.example/#/runs/run-1/?tab=x'],
  ['https://ci.example/{run_id}/of/{run_id}', 'https://ci.example/run-1/of/run-1'],
  ['https://{group_id}.ci.example/{run_id}', 'https://acme.ci.example/run-1'],
])('a URL by the template %s is that of its run: %s', (template, url) => {
  expect(idsAt(url, addresses('ci', template))).toEqual(['ci run-1']);
});

test('a URL has the parts of an id wherever the template of its source has them', () => {
  const id = '{owner}/{repo}/{run}';
  const run_url = 'https://ci.example/{owner}/{repo}/actions/runs/{run}';
  const config = { sources: { gh: { id, run_url } }, workflows: {}, server: {} };
  const linksOf = createLinksOf({ config, learnedName: () => null });
  const watch = newWatch({ source: 'gh', runId: 'acme/shop/12' });
  const url = 'https://ci.example/acme/shop/actions/runs/12';
  expect(linksOf(watch).runUrl).toBe(url);
  const traits = declaredTraits('gh', { id, run: {}, states: {} });
  const all: RunAddresses[] = [{ source: 'gh', templates: [run_url], places: [], traits }];
  expect(runsAt(readRunUrl(`${url}?pr=1`)!, all)).toEqual([
    { source: 'gh', runId: 'acme/shop/12' },
  ]);
  expect(runsAt(readRunUrl('https://ci.example/acme/actions/runs/12')!, all)).toEqual([]);
});

test.each([
  ['https://ci.example/{run_id}', 'https://other.example/run-1'],
  ['https://ci.example/runs/{run_id}', 'https://ci.example/runs/'],
  ['https://ci.example/runs/{run_id}', 'https://ci.example/pages/run-1'],
  ['https://ci.example/{run_id}', 'https://ci.example/%zz'],
  ['https://ci.example/{run_id}', 'https://ci.example/a%20b'],
  ['https://ci.example/?id={run_id}', 'https://ci.example/?run=run-1'],
  ['https://ci.example/{run_id}/of/{run_id}', 'https://ci.example/run-1/of/run-2'],
  ['https://ci.example/{workflow_id}', 'https://ci.example/run-1'],
])('a URL of another form than the template %s is of no run: %s', (template, url) => {
  expect(idsAt(url, addresses('ci', template))).toEqual([]);
});

test('a URL with slashes of the id as they are is that of the same run as with encoded ones', () => {
  const ci = addresses('ci', 'https://ci.example/{run_id}');
  for (const path of ['acme/shop/123', 'acme%2Fshop%2F123']) {
    expect(idsAt(`https://ci.example/${path}`, ci)).toEqual(['ci acme/shop/123']);
  }
});

test.each(['/{run_id}', '/{workflow_id}/{run_id}/x', '/?id={run_id}', '/#/{run_id}'])(
  'every URL that is made of the template %s gives the id of its run back',
  (path) => {
    const template = `https://ci.example${path}`;
    const config = configSchema.parse({
      data_dir: '/data',
      sources: { ci: { api_key: 'key', run_url: template } },
    });
    const linksOf = createLinksOf({ config, learnedName: () => null });
    const part = fc.stringMatching(/^[!-.0-~]{1,20}$/).filter((one) => !/^\.+$/.test(one));
    const id = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'));
    fc.assert(
      fc.property(id, (runId) => {
        const run = snapshot({ id: runId, workflow_id: WORKFLOW });
        const { runUrl } = linksOf(newWatch({ source: 'ci', runId, run }));
        expect(idsAt(runUrl!, addresses('ci', template))).toEqual([`ci ${runId}`]);
      }),
    );
  },
);

test.each([
  `https://app.noxus.ai/acme/${WORKFLOW}/${UUID}`,
  `https://app.noxus.ai/acme/${UUID.toUpperCase()}`,
  `https://app.noxus.ai/workflows/${WORKFLOW}/runs/${UUID}?tab=logs`,
  `https://app.noxus.ai/runs/${UUID}/steps/${WORKFLOW}`,
  `https://app.noxus.ai/#/runs/${UUID}`,
  `https://app.noxus.ai/view?run=${UUID}`,
  `http://127.0.0.1:8789/v1/runs/${UUID}/`,
])('a URL of Noxus is that of its run without any template: %s', (url) => {
  expect(idsAt(url, noxus('default', 'https://backend.noxus.ai'))).toEqual([`default ${UUID}`]);
});

test('a template goes before the form of pages, whatever the order of the sources', () => {
  const ci = addresses('ci', 'https://ci.example/{workflow_id}/runs/{run_id}');
  const other = noxus('default', 'https://backend.noxus.ai');
  expect(idsAt('https://ci.example/shop/runs/123', other, ci)).toEqual(['ci 123']);
});

test('a page at the host of one source is of no other, and elsewhere of each that it may be of', () => {
  const eu = noxus('eu', 'https://eu.noxus.example');
  const us = noxus('us', 'https://us.noxus.example', 'https://app.us.example/{run_id}');
  const ci = addresses('ci', 'https://ci.example/{run_id}/status');
  const all = [eu, us, ci];
  expect(idsAt('https://eu.noxus.example/v1/runs/run-1', ...all)).toEqual(['eu run-1']);
  expect(idsAt('https://app.us.example/acme/runs/run-1', ...all)).toEqual(['us run-1']);
  expect(idsAt('https://ci.example/acme/runs/run-1', ...all)).toEqual([]);
  expect(idsAt('https://app.noxus.ai/runs/run-1', ...all)).toEqual(['eu run-1', 'us run-1']);
});

test('sources with the same template all may have the run', () => {
  const template = 'https://ci.example/{run_id}';
  const [a, b] = [addresses('a', template), addresses('b', template, template)];
  expect(idsAt('https://ci.example/run-1', a, b)).toEqual(['a run-1', 'b run-1']);
});

test.each([
  'run-1',
  'acme/shop/123',
  'arn:aws:states:eu:1:run',
  '://',
  `https://${'x'.repeat(5_000)}`,
])('what is no URL is read as none: %.20s', (text) => {
  expect(readRunUrl(text)).toBeNull();
});

test.each([
  'https://app.noxus.ai/workflows',
  'https://app.noxus.ai/runs?status=failed',
  'https://backend.noxus.ai/v1/runs/',
])('a page of no run is of none, at the host of a source and elsewhere: %s', (url) => {
  expect(idsAt(url, noxus('default', 'https://backend.noxus.ai'))).toEqual([]);
});

test.each([
  [`https://app.noxus.ai/runs/${UUID}`, UUID],
  [UUID.toUpperCase(), UUID],
  ['run-1', 'run-1'],
  ['acme/shop/123', null],
  ['https://app.noxus.ai/', null],
])('without a daemon, %s is read as the run %s of Noxus', (text, id) => {
  expect(noxusIdOf(text)).toBe(id);
});
