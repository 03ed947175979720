import { isDeepStrictEqual } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Browser, BrowserContext, Locator, Page } from 'playwright-core';
import {
  closePage,
  launchBrowser,
  newContext,
  openPageIn,
  violationsOf,
  type WatchedPage,
} from '../support/browser.ts';
import type { Filter } from '../../src/ui/parts/filters.ts';
import { ALERT_FILTERS } from '../../src/ui/screens/alerts-query.ts';
import { DELIVERY_FILTERS } from '../../src/ui/screens/deliveries-query.ts';
import { RUN_FILTERS } from '../../src/ui/screens/runs-query.ts';
import { openStage, WORKFLOWS, type Stage } from '../support/dashboard-stage.ts';
import { waitFor } from '../support/wait-for.ts';

let stage: Stage;
let browser: Browser;
let context: BrowserContext;
let failed: string;
let delivery: string;
let alert: string;

beforeAll(async () => {
  browser = await launchBrowser();
  stage = await openStage();
  context = await newContext(browser);
  const ended = (status: string, progress: number) => ({
    workflow_id: WORKFLOWS.invoices,
    age_ms: 600_000,
    steps: [
      { after_ms: 1_000, status: 'running', progress: 0 },
      { after_ms: 90_000, status, progress },
    ],
  });
  failed = await stage.run(ended('failed', 60), { metadata: { team: 'finance' } });
  // Of another workflow: it would resolve the alert.
  await stage.run({ ...ended('completed', 100), workflow_id: WORKFLOWS.onboarding });
  await stage.run(ended('awaiting_human_feedback', 40));
  delivery = await waitFor(async () => {
    const { body } = await stage.daemon.api('/v1/deliveries?endpoint=flaky');
    return body.data.find((one: { attempt_count: number }) => one.attempt_count > 0)?.id;
  });
  alert = await waitFor(async () => {
    const { body } = await stage.daemon.api('/v1/alerts?state=firing');
    return body.data[0]?.id;
  });
});

afterAll(async () => {
  await browser?.close();
  await stage?.close();
});

async function withPage(
  path: string,
  work: (page: Page, watched: WatchedPage) => Promise<void>,
  options: Omit<Parameters<typeof openPageIn>[1], 'url'> = {},
): Promise<void> {
  const watched = await openPageIn(context, { url: `${stage.url}${path}`, ...options });
  try {
    await work(watched.page, watched);
  } finally {
    await closePage(watched);
  }
}

const SCREENS: readonly (readonly [string, () => string, string | RegExp])[] = [
  ['Now', () => '/', 'invoices'],
  ['Runs', () => '/runs', 'completed'],
  ['Run', () => `/runs/default/${failed}`, 'How late each endpoint was notified'],
  ['Deliveries', () => '/deliveries', 'awaiting feedback'],
  ['Delivery', () => `/deliveries/${delivery}?attempt=1`, '"type": "run.failed"'],
  ['Endpoints', () => '/endpoints', 'flaky'],
  ['Alerts', () => '/alerts', 'Silences'],
  ['Alert', () => `/alerts/${alert}`, 'Notified'],
  ['Workflows', () => '/workflows?since=24h', /Detection delay|No run of any workflow/],
  ['System', () => '/system', 'poll workers'],
  ['Audit log', () => '/system/audit', /Nothing was done so far|Details/],
];

describe.each(SCREENS)('the screen %s', (_name, path, words) => {
  test.each(['light', 'dark'] as const)(
    'dashboard screen has no violation of accessibility, no error and no foreign request (%s)',
    async (theme) => {
      await withPage(
        path(),
        async (page, { errors, foreign }) => {
          await page.getByText(words).first().waitFor();
          await waitFor(async () => (await page.locator('.loading').count()) === 0);
          expect(await violationsOf(page)).toEqual([]);
          expect(errors).toEqual([]);
          expect(foreign).toEqual([]);
        },
        { theme },
      );
    },
  );

  test('dashboard screen fits a width of 360 px, and a zoom of 200 % and 400 %', async () => {
    await withPage(path(), async (page) => {
      await page.getByText(words).first().waitFor();
      for (const size of [NARROW, zoomed(1_280, 2), zoomed(1_440, 4)]) {
        await page.setViewportSize(size);
        await waitFor(async () => (await tooWide(page)).length === 0, {
          describe: 'a screen that does not scroll sideways',
        }).catch(() => undefined);
        expect(await tooWide(page)).toEqual([]);
      }
    });
  });
});

const NARROW = { width: 360, height: 900 };

/** What a zoom leaves of a window, CSS pixels. */
function zoomed(width: number, zoom: number): { width: number; height: number } {
  return { width: width / zoom, height: 900 / zoom };
}

/** The elements that a page is too narrow for. */
function tooWide(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    const { clientWidth, scrollWidth } = document.documentElement;
    if (scrollWidth <= clientWidth) return [];
    return [...document.querySelectorAll('main *')]
      .filter((one) => one.getBoundingClientRect().right > clientWidth + 1)
      .map((one) => one.outerHTML.slice(0, 120));
  });
}

test('nothing on the dashboard moves by itself where a user wants less motion', async () => {
  await withPage(
    `/runs/default/${failed}`,
    async (page) => {
      await page.locator('.chart').waitFor();
      const moving = () => page.evaluate(() => document.getAnimations().length);
      expect(await moving()).toBe(0);
      await page.keyboard.press('?');
      await page.getByRole('dialog', { name: 'Keys' }).waitFor();
      expect(await moving()).toBe(0);
    },
    { reducedMotion: true },
  );
});

/** Drags from one share of an element's width to another. */
async function drag(page: Page, target: Locator, [from, to]: [number, number]): Promise<void> {
  const { width, height } = await boxOf(target);
  // Waits until the element keeps its place.
  await target.hover({ position: { x: width * from, y: height / 2 } });
  await page.mouse.down();
  // While the mouse is pressed, no answer moves the element.
  const box = await boxOf(target);
  await page.mouse.move(box.x + box.width * to, box.y + box.height / 2, { steps: 4 });
  await page.mouse.up();
}

async function boxOf(target: Locator) {
  const box = await target.boundingBox();
  if (box === null) throw new Error('there is nothing to drag over');
  return box;
}

describe('what needs a person', () => {
  test('where nothing needs a person, Now says how many runs failed in 24 h', async () => {
    await withPage('/', async (page) => {
      await page.route('**/v1/attention', (route) =>
        route.fulfill({ json: { data: [], counts: {}, total: 0, total_capped: false } }),
      );
      await page.reload();
      await page.getByText('1 of 3 runs failed in 24 h. 1 run is being watched.').waitFor();
    });
  });

  test('dragging over the lanes of Now lists the runs of that stretch of time', async () => {
    await withPage('/', async (page) => {
      const lane = page.locator('.lane-chart').first();
      await lane.waitFor();
      // What needs a person stands above the chart.
      await page.locator('.need').first().waitFor();
      await drag(page, lane, [0.5, 0.99]);
      await page.waitForURL(/\/runs\?since=.+&until=/);
      await page.getByRole('heading', { level: 1, name: 'Runs' }).waitFor();
    });
  });

  test('Now lists a waiting run and a firing alert, and its title counts them', async () => {
    await withPage('/', async (page) => {
      for (const name of ['Awaiting', 'Alert']) {
        await page.locator('.need-kind', { hasText: name }).first().waitFor();
      }
      await waitFor(async () => /^\(\d+\) Now/.test(await page.title()));
      await page.locator('.need', { hasText: 'Alert' }).getByRole('link').first().click();
      await page.getByRole('heading', { name: 'Notified' }).waitFor();
    });
  });

  test.each([
    [1280, 'light'],
    [390, 'dark'],
  ] as const)(
    'a row of Now opens to its runs, and is acknowledged, at a width of %d px (%s)',
    async (width, theme) => {
      const since = '2025-05-04T09:00:00.000Z';
      const runs = Array.from({ length: 20 }, (_, at) => ({
        run_id: `0b8e6679-7425-40de-944b-e07fc1f90a${at + 10}`,
        since,
        run_url: null,
      }));
      const long = 'Quarterly invoices of all subsidiaries '.repeat(4).trim();
      const shared = { since, source: 'default', runs, acknowledged: null };
      const data = [
        {
          ...shared,
          kind: 'failed',
          severity: 'error',
          count: 106,
          message: '106 runs failed, and none has completed since',
          workflow_id: 'wf-1',
          workflow_name: 'orders',
        },
        {
          ...shared,
          kind: 'awaiting',
          severity: 'warning',
          count: 300,
          message: '300 runs wait for a human',
          workflow_id: 'wf-2',
          workflow_name: long,
        },
      ];
      const json = { data, counts: { failed: 1, awaiting: 1 }, total: 2, total_capped: false };
      await withPage(
        '/',
        async (page) => {
          const asked: string[] = [];
          await page.route('**/v1/attention', (route) => route.fulfill({ json }));
          await page.route('**/v1/workflows/default/wf-1/acknowledge', (route) => {
            asked.push(route.request().method());
            return route.fulfill({ json: {} });
          });
          await page.reload();
          await waitFor(async () => (await page.title()).startsWith('(2) Now'));
          const [failing, waiting] = [
            page.locator('.need-row').nth(0),
            page.locator('.need-row').nth(1),
          ];
          expect(await failing.innerText()).toMatch(/error\s+Failed/);
          await waiting.getByRole('button', { name: 'Show runs' }).click();
          await waiting.getByRole('link', { name: 'All 300 runs' }).waitFor();
          expect(await waiting.locator('.need-runs li').count()).toBe(21);
          await page.locator('.lane-chart').first().waitFor();
          expect(await violationsOf(page)).toEqual([]);
          const widest = await page.evaluate('document.documentElement.scrollWidth');
          expect(widest).toBeLessThanOrEqual(width);
          await failing.getByRole('button', { name: 'Acknowledge' }).click();
          const dialog = page.getByRole('dialog', { name: 'Acknowledge the failures of orders' });
          await dialog.getByLabel('Your name').fill('ana');
          await dialog.getByRole('button', { name: 'Acknowledge' }).click();
          await waitFor(() => asked.length > 0);
          expect(asked).toEqual(['POST']);
        },
        { theme, width },
      );
    },
  );

  test('a silence says what it would match before it is made, and is listed after', async () => {
    await withPage('/alerts', async (page) => {
      await page.getByRole('button', { name: 'Silence …' }).click();
      const dialog = page.getByRole('dialog', { name: 'Silence' });
      await dialog.getByLabel('Rule').selectOption('failed-runs');
      await dialog.getByText(/Matches 1 alert now, and \d+ events? of the last 24 h/).waitFor();
      await dialog.getByLabel('Your name').fill('Ana');
      await dialog.getByLabel('Why').fill('upgrade');
      await dialog.getByRole('button', { name: 'Silence' }).click();
      await page.getByText('upgrade (Ana)').waitFor();
      const row = page.getByRole('row', { name: /invoices/ });
      await row.getByText('silenced', { exact: true }).waitFor();
      await row.getByText(/^silenced by Ana until /).waitFor();
      await row.getByRole('link').first().click();
      await page.getByText(/^Notifications are silenced by Ana until /).waitFor();
    });
  });
});

describe('a run', () => {
  test('time axis of a run shows its states, events and deliveries, and its tables say the same', async () => {
    await withPage(`/runs/default/${failed}`, async (page) => {
      await page.locator('.chart').waitFor();
      for (const lane of ['State', 'Polls', 'Events', '→ ops', '→ flaky']) {
        await page.locator('.chart text', { hasText: lane }).first().waitFor();
      }
      await page.getByText('Deliveries and attempts').first().waitFor();
      await page
        .getByRole('group', { name: 'Deliveries and attempts' })
        .getByText('flaky')
        .waitFor();
    });
  });

  test('page of a run begins with what happened, and which endpoints know and do not', async () => {
    await withPage(`/runs/default/${failed}`, async (page) => {
      const headline = page.locator('.headline');
      await headline.getByText(/^Failed at .+ after 1 min 29 s\.$/).waitFor();
      await headline.getByText('Notified: ops. Not notified: flaky (waiting').waitFor();
      await headline.getByRole('link', { name: 'flaky' }).click();
      await page.getByRole('heading', { name: 'Attempts' }).waitFor();
    });
  });

  test('choosing an event of a run puts it into the address and says how late it was delivered', async () => {
    await withPage(`/runs/default/${failed}`, async (page) => {
      const lateness = page.getByRole('region', { name: 'How late each endpoint was notified' });
      const fold = lateness.locator('details', { hasText: 'ops' });
      const event = fold.locator('.delay-name', { hasText: 'failed' });
      await event.waitFor({ state: 'attached' });
      expect(await fold.getByRole('button').first().isVisible()).toBe(false);
      await fold.locator('summary', { hasText: /failed .+ later/ }).click();
      await event.click();
      await fold.getByText(/was notified .+ later/).waitFor();
      expect(page.url()).toContain('event=evt_failed');
      await page.reload();
      await fold.getByText(/was notified .+ later/).waitFor();
    });
  });

  test('page of a run leaves steps of progress out of events and lateness until they are asked for', async () => {
    await withPage(`/runs/default/${failed}`, async (page) => {
      await page.route(`**/v1/watches/${failed}/timeline?*`, async (route) => {
        const body = await (await route.fetch()).json();
        const steps = Array.from({ length: 20 }, (_, at) => ({
          ...body.events[0],
          id: `evt_progress_${at}`,
          type: 'run.progress',
        }));
        await route.fulfill({ json: { ...body, events: [...steps, ...body.events] } });
      });
      await page.reload();
      const events = page.getByRole('group', { name: 'Events' });
      await events.getByText('failed', { exact: true }).waitFor();
      expect(await events.getByText('progress').count()).toBe(0);
      await page.getByText('20 steps of progress are left out here and below.').waitFor();
      await page.getByRole('button', { name: 'Show progress' }).click();
      await page.getByText('20 steps of progress are shown').waitFor();
      await page.getByText('20 events have no receiver').waitFor();
      expect(page.url()).toContain('progress=shown');
    });
  });

  test('page of a run draws eight of thirty endpoints, those that were not notified first', async () => {
    await withPage(`/runs/default/${failed}`, async (page) => {
      await page.route(`**/v1/watches/${failed}/timeline?*`, async (route) => {
        const body = await (await route.fetch()).json();
        const [sent] = body.deliveries;
        const others = Array.from({ length: 30 }, (_, at) => ({
          ...sent,
          id: `dlv_${at}`,
          endpoint: `endpoint-${at}`,
          state: at === 29 ? 'dead' : 'delivered',
          attempts: [],
        }));
        await route.fulfill({ json: { ...body, deliveries: others, alerts: [] } });
      });
      await page.reload();
      await page.getByText('8 of 30 endpoints are drawn').waitFor();
      await page.locator('.chart text', { hasText: 'endpoint-29' }).waitFor();
      const headline = page.locator('.headline');
      expect(await headline.getByRole('link').count()).toBe(9);
      await headline.getByRole('button', { name: '21 more' }).click();
      await headline.getByRole('link', { name: 'endpoint-28' }).waitFor();
    });
  });

  test('page of a run begins with the endpoints that an alert has notified, and leads to the alert', async () => {
    await waitFor(async () => {
      const { body } = await stage.daemon.api(`/v1/watches/${failed}/timeline`);
      return body.alerts[0]?.notified[0]?.delivery_state === 'delivered';
    });
    await withPage(`/runs/default/${failed}`, async (page) => {
      await page.route(`**/v1/watches/${failed}/timeline?*`, async (route) => {
        const body = await (await route.fetch()).json();
        await route.fulfill({ json: { ...body, deliveries: [] } });
      });
      await page.reload();
      const headline = page.locator('.headline');
      await headline.getByText('Notified: ops by alert failed-runs.').waitFor();
      await headline.getByRole('link', { name: 'failed-runs' }).click();
      await page.waitForURL(new RegExp(`/alerts/${alert}$`));
    });
  });

  test('dragging over the time axis of a run shows that stretch, and All the whole again', async () => {
    await withPage(`/runs/default/${failed}`, async (page) => {
      const chart = page.locator('.chart svg');
      await chart.waitFor();
      await drag(page, chart, [0.4, 0.6]);
      await page.waitForURL(/from=.+&to=/);
      const span = new URL(page.url()).searchParams;
      const spanMs = Date.parse(span.get('to') ?? '') - Date.parse(span.get('from') ?? '');
      expect(spanMs).toBeGreaterThan(0);
      await page.getByRole('button', { name: 'All' }).click();
      await page.waitForURL((url) => !url.searchParams.has('from'));
    });
  });

  test('page of a run says the label of its source, and has no row for what that does not give', async () => {
    await withPage('/', async (page) => {
      await page.route('**/v1/sources', async (route) => {
        const { data } = await (await route.fetch()).json();
        await route.fulfill({ json: { data: [{ ...data[0], label: 'Forge' }] } });
      });
      await page.route(`**/v1/watches/${failed}?*`, async (route) => {
        const watch = await (await route.fetch()).json();
        const given = Object.keys(watch.run).map((name) => [name, null]);
        const { id, status, observed_at } = watch.run;
        const run = { ...Object.fromEntries(given), id, status, observed_at };
        const run_url = `https://forge.example.com/${id}`;
        await route.fulfill({ json: { ...watch, run, run_url, workflow_name: null } });
      });
      await page.goto(`${stage.url}/runs/default/${failed}`);
      await page.getByRole('link', { name: 'Open in Forge' }).waitFor();
      const facts = await page.locator('.facts').first().innerText();
      expect(facts).not.toMatch(/progress|duration|–/i);
      const ofRun = await page
        .getByRole('region', { name: 'Of the run' })
        .locator('dt')
        .allInnerTexts();
      expect(ofRun).toEqual(['registered', 'watched until', 'notifies']);
      expect(await page.locator('body').innerText()).not.toMatch(/noxus/i);
    });
  });

  test('an address that names a run without its source opens the run', async () => {
    await withPage(`/runs/${failed}`, async (page) => {
      await page.getByRole('heading', { name: 'Time axis' }).waitFor();
    });
  });

  test('a run that is not watched says how to watch it', async () => {
    await withPage('/runs/default/no-such-run', async (page) => {
      await page.getByText('runwatch watch no-such-run').waitFor();
    });
  });
});

describe('lists', () => {
  test('a chip filters the runs, its address holds the filter, and Back takes it away', async () => {
    await withPage('/runs', async (page) => {
      await page.getByText('3 runs').waitFor();
      await page.getByRole('link', { name: /^Failed/ }).click();
      await page.getByText('1 run', { exact: true }).waitFor();
      expect(page.url()).toContain('status=failed');
      await page.goBack();
      await page.getByText('3 runs').waitFor();
    });
  });

  test('metadata typed into the filter narrows the runs', async () => {
    await withPage('/runs', async (page) => {
      await page.getByLabel('Filter').fill('team=finance');
      await page.getByText('1 run', { exact: true }).waitFor();
      await page.locator(`tr[data-key="default/${failed}"]`).waitFor();
    });
  });

  test('a list with no match says how many there are in all', async () => {
    await withPage('/runs?status=stopped&since=1h', async (page) => {
      await page.getByText(/None of 3 runs of the last 1h is stopped/).waitFor();
    });
  });

  test('an unanswered delivery shows its attempts, the error, the event and a retry', async () => {
    await withPage('/deliveries?endpoint=flaky', async (page) => {
      await page.locator('tbody a').first().click();
      await page.getByText('answered 500').first().waitFor();
      await page.getByText('after the event').first().waitFor();
      await page.getByText('"type": "run.failed"').waitFor();
      await page.getByRole('button', { name: 'Retry now' }).waitFor();
    });
  });

  test.each(['pending', 'parked'])(
    'a %s delivery of a failing endpoint says that it waits for it, and when that is tried next',
    async (state) => {
      await withPage('/', async (page) => {
        await page.route(`**/v1/deliveries/${delivery}`, async (route) => {
          const body = await (await route.fetch()).json();
          await route.fulfill({ json: { ...body, state } });
        });
        await page.route('**/v1/endpoints', async (route) => {
          const { data } = await (await route.fetch()).json();
          const health = {
            ...data[0].health,
            state: 'failing',
            next_probe_at: new Date(Date.now() + 3_600_000).toISOString(),
          };
          await route.fulfill({ json: { data: [{ ...data[0], name: 'flaky', health }] } });
        });
        await page.goto(`${stage.url}/deliveries/${delivery}`);
        await page
          .getByText(/Waiting for flaky to take deliveries again: it is failing\. .*tried next in/)
          .waitFor();
        await page.locator('.facts').getByText('waiting for flaky').waitFor();
        expect(await page.getByText(/next attempt/i).count()).toBe(0);
      });
    },
  );

  test('j on the page of a delivery, and of an alert, leads to the next of the list', async () => {
    await withPage('/deliveries', async (page) => {
      const rows = page.locator('tbody tr[data-key]');
      await rows.nth(1).waitFor();
      // New rows wait while the pointer is on the list.
      await rows.first().hover();
      const second = await rows.nth(1).getAttribute('data-key');
      await rows.locator('a').first().click();
      await page.getByRole('navigation', { name: 'The list' }).waitFor();
      await page.keyboard.press('j');
      await page.waitForURL(`**/deliveries/${second}`);
      await page.goto(`${stage.url}/alerts`);
      await page.locator('tbody tr[data-key] a').first().click();
      await page.getByText('1 of 1', { exact: true }).waitFor();
    });
  });

  test('the title of an alert names its workflow', async () => {
    await withPage(`/alerts/${alert}`, async (page) => {
      await page.locator('h1').getByText('invoices').waitFor();
    });
  });

  test('the page of an alert has its runbook first, its rule in words, its deliveries and its history', async () => {
    await withPage(`/alerts/${alert}`, async (page) => {
      const first = page.locator('.actions > *').first();
      await first.getByText('Runbook').waitFor();
      expect(await first.getAttribute('href')).toBe('https://wiki.example.com/runs');
      const section = (name: string) => page.getByRole('region', { name });
      await section('About').getByText('invoicing').waitFor();
      await section('About').getByText(WORKFLOWS.invoices).waitFor();
      await section('Rule').getByText('run.failed; one alert for each source').waitFor();
      await section('Rule').getByText('when run.completed comes, or by hand').waitFor();
      const sent = section('Notified').locator('.sent', { hasText: 'ops' });
      await sent.getByText('delivered').waitFor();
      await section('History').getByText('fired', { exact: true }).waitFor();
      await sent.getByRole('link', { name: 'ops' }).click();
      await page.getByText('alert.firing').first().waitFor();
    });
  });

  test('an alert is resolved by a button on its page, which then names the user', async () => {
    await withPage(`/alerts/${alert}`, async (page) => {
      await page.getByRole('button', { name: 'Resolve …' }).click();
      const dialog = page.getByRole('dialog', { name: 'Resolve the alert failed-runs' });
      await dialog.getByLabel('Your name').fill('Ana');
      await dialog.getByLabel('Comment').fill('up again');
      await dialog.getByRole('button', { name: 'Resolve' }).click();
      await page.getByText('Resolved by Ana: up again', { exact: true }).waitFor();
      await page.getByText('resolved by Ana: up again', { exact: true }).waitFor();
      expect(await page.getByRole('button', { name: 'Resolve …' }).count()).toBe(0);
    });
  });

  test('an attempt shows where its time went, and what was sent with secrets masked', async () => {
    await withPage(`/deliveries/${delivery}?attempt=1`, async (page) => {
      const detail = page.locator('.attempt-detail');
      await detail.getByText(/; the answer began after .+ and took .+\.$/).waitFor();
      const headers = await detail.getByLabel('Request headers').textContent();
      expect(headers).toMatch(/webhook-id: evt_failed_/);
      expect(headers).toMatch(/webhook-signature: v1,…/);
      await detail.getByText('made again from the event').waitFor();
      await page.locator('.attempt-bar .phase-wait').first().waitFor();
    });
  });

  test('Runs shows whole ids and the next poll at a width of 1,400 px', async () => {
    await withPage(
      '/runs',
      async (page) => {
        await page.getByRole('columnheader', { name: 'Next poll' }).waitFor();
        await page.locator('td.col-id a').first().waitFor();
        const cut = await page
          .locator('td.col-id')
          .evaluateAll((cells) =>
            cells
              .filter((cell) => cell.scrollWidth > cell.clientWidth)
              .map((one) => one.textContent),
          );
        expect(cut).toEqual([]);
      },
      { width: 1_400 },
    );
  });
});

/** The lists by their paths, and their filters. */
const LISTS: Readonly<Record<string, Readonly<Record<string, Filter<never>>>>> = {
  '/runs': RUN_FILTERS,
  '/deliveries': DELIVERY_FILTERS,
  '/alerts': ALERT_FILTERS,
};

const NARROWING = Object.entries(LISTS).flatMap(([path, filters]) =>
  Object.values(filters)
    .filter(({ narrows }) => narrows)
    .map(({ name, hasControl = false }) => ({ path, name, hasControl })),
);

/** What the controls of a list show: what is chosen, typed, or can be removed. */
function shownFilters(page: Page): Promise<string[]> {
  return page.locator('.filters').evaluate((row) => {
    const fields = [...row.querySelectorAll<HTMLInputElement>('input, select')];
    const chips = [...row.querySelectorAll('a[aria-current] span:first-of-type, button.chip')];
    return [...fields.map(({ value }) => value), ...chips.map((chip) => chip.textContent)];
  });
}

test.each(NARROWING)(
  'the list $path shows the filter $name that its address has, with a way out',
  async ({ path, name, hasControl }) => {
    let bare: string[] = [];
    await withPage(path, async (page) => {
      bare = await shownFilters(page);
    });
    const isBare = async (page: Page) => isDeepStrictEqual(await shownFilters(page), bare);
    await withPage(`${path}?${name}=1h`, async (page) => {
      await waitFor(async () => !(await isBare(page)));
      if (hasControl) return;
      await page
        .locator('.filters')
        .getByRole('button', { name: `${name}: 1h` })
        .click();
      await waitFor(async () => isBare(page));
      expect(new URL(page.url()).search).toBe('');
    });
  },
);

test('System says which source does not answer, since when, and what still works', async () => {
  await withPage('/system', async (page) => {
    await page.route('**/v1/sources', async (route) => {
      const answer = await route.fetch();
      const { data } = await answer.json();
      const trouble = {
        state: 'unreachable',
        since: new Date().toISOString(),
        message: 'default gives no valid answer.',
      };
      await route.fulfill({ json: { data: [{ ...data[0], ...trouble }] } });
    });
    await page
      .getByText(/default gives no valid answer\. Since .+ Watches continue; changes meanwhile/)
      .waitFor();
  });
});

test('System shows the checks of a daemon that is not ready', async () => {
  await withPage('/', async (page) => {
    await page.getByText('Live', { exact: true }).waitFor();
    await page.route('**/readyz?*', (route) =>
      route.fulfill({
        status: 503,
        json: {
          status: 'unready',
          checks: [{ name: 'redis', status: 'failed', detail: 'its memory is full' }],
        },
      }),
    );
    await page.keyboard.press('g');
    await page.keyboard.press('s');
    await page.getByText('its memory is full').waitFor();
    await page.getByText('unready').waitFor();
  });
});
