import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import {
  closePage,
  launchBrowser,
  newContext,
  openPageIn,
  violationsOf,
} from '../support/browser.ts';
import { openStage, WORKFLOWS, type Stage } from '../support/dashboard-stage.ts';
import { waitFor } from '../support/wait-for.ts';

/** The longest names that the configuration takes: of several words, and of one. */
const LONG_NAMES = {
  [WORKFLOWS.invoices]: `Quarterly invoices ${'of all subsidiaries '.repeat(8)}`.slice(0, 128),
  [WORKFLOWS.onboarding]: 'Onboarding'.padEnd(128, 'x'),
  [WORKFLOWS['support triage']]: 'support triage',
};

const LONG_RULE = 'failed-runs-'.padEnd(63, 'r');
const LONG_ENDPOINT = 'receiver-'.padEnd(63, 'e');

const PHONE = { width: 390, height: 844 };
const DESK = { width: 1_280, height: 900 };

let stage: Stage;
let browser: Browser;
let context: BrowserContext;
let failed: string;
let delivery: string;
let alert: string;

beforeAll(async () => {
  browser = await launchBrowser();
  context = await newContext(browser);
  stage = await openStage({
    config: {
      workflows: Object.fromEntries(
        Object.entries(LONG_NAMES).map(([id, name]) => [id, { name: name.trim() }]),
      ),
      rules: [
        {
          name: LONG_RULE,
          events: ['run.failed'],
          group_by: ['source', 'workflow_id'],
          group_wait: '500ms',
          owner: `@${'owner'.repeat(10)}`,
          notify: [LONG_ENDPOINT],
        },
      ],
      endpoints: { [LONG_ENDPOINT]: { type: 'log', default: true } },
    },
  });
  const ended = (workflow: string, status: string) => ({
    workflow_id: workflow,
    age_ms: 600_000,
    steps: [
      { after_ms: 1_000, status: 'running', progress: 0 },
      { after_ms: 90_000, status, progress: 60 },
    ],
  });
  const webhook = {
    url: `https://hooks.example.com/${'path/'.repeat(60)}`,
    events: ['run.completed'],
  };
  for (const workflow of Object.keys(LONG_NAMES)) {
    failed = await stage.run(ended(workflow, 'failed'), {
      metadata: { 'a-rather-long-key': 'v'.repeat(200) },
    });
    await stage.run(ended(workflow, 'awaiting_human_feedback'));
  }
  await stage.run(
    { ...ended(WORKFLOWS['weekly report'], 'completed'), id: `run_${'x'.repeat(120)}.end` },
    { webhook },
  );
  for (const workflow of Object.keys(LONG_NAMES)) {
    const { status } = await stage.daemon.api('/v1/silences', {
      matchers: { workflow_id: workflow, rule: LONG_RULE, event: 'run.stopped' },
      until: '8h',
      by: 'somebody-with-a-long-name'.repeat(4),
      comment: 'maintenance '.repeat(30).trim(),
    });
    expect(status).toBe(201);
  }
  alert = await waitFor(async () => {
    const { data } = (await stage.daemon.api('/v1/alerts?state=firing')).body;
    return data.length === Object.keys(LONG_NAMES).length ? data[0].id : undefined;
  });
  delivery = await waitFor(async () => {
    const { data } = (await stage.daemon.api('/v1/deliveries?state=delivered')).body;
    return data.find((one: { alert_id: string | null }) => one.alert_id !== null)?.id;
  });
});

afterAll(async () => {
  await browser?.close();
  await stage?.close();
});

interface Size {
  width: number;
  height: number;
}

async function withPage(
  path: string,
  { width, height }: Size,
  work: (page: Page) => Promise<void>,
  theme: 'light' | 'dark' = 'light',
): Promise<void> {
  const url = `${stage.url}${path}`;
  const watched = await openPageIn(context, { url, width, height, theme });
  try {
    await watched.page.locator('main h1, .empty-title').first().waitFor();
    await waitFor(async () => (await watched.page.locator('.loading').count()) === 0);
    await work(watched.page);
  } finally {
    await closePage(watched);
  }
}

/** What of a page is wider than its place: what the page itself has no room for, and parts of some kind. */
function overflows(page: Page, parts: string): Promise<string[]> {
  return page.evaluate((selector) => {
    const isWide = ({ scrollWidth, clientWidth }: Element) => scrollWidth > clientWidth;
    const { documentElement: root } = document;
    const beyond = [...document.querySelectorAll('main *')].filter(
      (one) => one.getBoundingClientRect().right > root.clientWidth + 1,
    );
    const wide = [...document.querySelectorAll(selector)].filter(isWide);
    return [...(isWide(root) ? [root, ...beyond] : []), ...wide].map(({ outerHTML }) =>
      outerHTML.slice(0, 160),
    );
  }, parts);
}

const FITS = 'dialog[open], .scroll-x, .brief-more';

interface Route {
  path: () => string;
  /** What the screen shows once its lists are read. */
  row: string;
}

const ROW = 'tr[data-key], .briefs > li';

/** The lists, with what each of their rows is. */
const LISTS: Readonly<Record<string, Route>> = {
  Runs: { path: () => '/runs', row: ROW },
  Deliveries: { path: () => '/deliveries', row: ROW },
  Alerts: { path: () => '/alerts', row: ROW },
  Endpoints: { path: () => '/endpoints', row: '.card' },
  Workflows: { path: () => '/workflows', row: '.workflows tbody tr, .briefs > li' },
  'Audit log': { path: () => '/system/audit', row: '.plain tbody tr, .briefs > li' },
};

const ROUTES: Readonly<Record<string, Route>> = {
  ...LISTS,
  Now: { path: () => '/', row: '.need' },
  'Runs that are filtered': {
    path: () => `/runs?source=default&since=24h&workflow=${WORKFLOWS.invoices}`,
    row: ROW,
  },
  'Deliveries of a run': { path: () => `/deliveries?run=${failed}`, row: ROW },
  Run: { path: () => `/runs/default/${failed}`, row: '.chart' },
  Delivery: { path: () => `/deliveries/${delivery}`, row: 'h1' },
  Alert: { path: () => `/alerts/${alert}`, row: 'h1' },
  System: { path: () => '/system', row: '.checks li' },
};

describe.each(Object.entries(ROUTES))('the screen %s with long names', (name, { path, row }) => {
  test.each([PHONE, DESK, { width: 700, height: 900 }])(
    'long names push nothing off a screen of $width px',
    async (size) => {
      await withPage(path(), size, async (page) => {
        await page.locator(row).first().waitFor();
        // Tables of the page of a run scroll by themselves.
        const parts = /^(Run|Delivery|Alert)$/.test(name) || size.width === 700 ? 'dialog' : FITS;
        const isSettled = async () => (await overflows(page, parts)).length === 0;
        await waitFor(isSettled, { timeoutMs: 60_000 }).catch(() => undefined);
        expect(await overflows(page, parts)).toEqual([]);
      });
    },
  );
});

describe.each(Object.entries(LISTS))('the list %s on a phone', (name, { path, row }) => {
  test('first row of a list begins in the first half of a phone, and has two lines', async () => {
    await withPage(path(), PHONE, async (page) => {
      const first = page.locator(row).first();
      await first.waitFor();
      const box = await first.boundingBox();
      expect(box?.y).toBeLessThan(PHONE.height / 2);
      const tops = await first.locator('.brief').evaluate((brief) => {
        const parts = [...brief.children, ...(brief.querySelector('.brief-more')?.children ?? [])];
        const lines = parts.filter((part) => !part.classList.contains('brief-more'));
        const middles = lines.map((line) => {
          const { top, height } = line.getBoundingClientRect();
          return height === 0 ? null : Math.round((top + height / 2) / 16);
        });
        return [...new Set(middles.filter((middle) => middle !== null))];
      });
      expect(tops.length).toBe(2);
    });
  });

  test.each(['light', 'dark'] as const)(
    'list on a phone has no violation of accessibility (%s)',
    async (theme) => {
      await withPage(
        path(),
        PHONE,
        async (page) => {
          await page.locator(row).first().waitFor();
          const found = await violationsOf(page);
          expect([name, ...found]).toEqual([name]);
        },
        theme,
      );
    },
  );
});

test('a long name is cut with an ellipsis, and its title has it whole', async () => {
  for (const size of [PHONE, DESK]) {
    await withPage(`/runs?workflow=${WORKFLOWS.onboarding}`, size, async (page) => {
      const name = page.locator('tr[data-key] .cut').first();
      await name.waitFor();
      const { title, isCut } = await name.evaluate((one) => ({
        title: one.getAttribute('title'),
        isCut: one.scrollWidth > one.clientWidth,
      }));
      expect(isCut).toBe(true);
      expect(title).toContain(LONG_NAMES[WORKFLOWS.onboarding]);
    });
  }
});

test('a row of two lines on a phone opens its run, and names the workflow first', async () => {
  await withPage(`/runs?workflow=${WORKFLOWS['support triage']}`, PHONE, async (page) => {
    const row = page.locator(`tr[data-key="default/${failed}"]`);
    await row.waitFor();
    expect(await row.innerText()).toMatch(/^support triage\s/);
    await row.getByText(failed.slice(0, 8)).click();
    await page.waitForURL(`**/runs/default/${failed}`);
  });
});

test('ten rows of two lines come after one another without a gap, also after a turn of the phone', async () => {
  await withPage('/deliveries', PHONE, async (page) => {
    const gaps = () =>
      page.locator('tr[data-key]').evaluateAll((rows) =>
        rows.slice(1).map((row, at) => {
          const above = rows[at]?.getBoundingClientRect().bottom ?? 0;
          return Math.round(row.getBoundingClientRect().top - above);
        }),
      );
    await page.locator('tr[data-key]').nth(3).waitFor();
    expect(new Set(await gaps())).toEqual(new Set([0]));
    await page.setViewportSize({ width: 844, height: 390 });
    await page.getByRole('columnheader', { name: 'Endpoint' }).waitFor();
    expect(await page.locator('.brief').count()).toBe(0);
    expect(new Set(await gaps())).toEqual(new Set([0]));
  });
});

test('filters of a phone are behind a button that says how many are on', async () => {
  await withPage('/runs', PHONE, async (page) => {
    const button = page.getByRole('button', { name: 'Filters', exact: true });
    await button.waitFor();
    expect(await page.getByRole('group', { name: 'State' }).count()).toBe(0);
    await button.click();
    await page.getByRole('link', { name: /^Failed/ }).click();
    await page.getByLabel('Workflow').selectOption(WORKFLOWS['support triage']);
    await page.getByRole('button', { name: 'Filters (2 on)' }).click();
    expect(await page.getByRole('group', { name: 'State' }).count()).toBe(0);
    await page.getByText('1 run', { exact: true }).waitFor();
  });
});

test('an alert on a phone says its severity and its age', async () => {
  await withPage('/alerts', PHONE, async (page) => {
    const row = page.locator(`tr[data-key="${alert}"]`);
    await row.waitFor();
    expect(await row.innerText()).toMatch(/error[\s\S]*firing[\s\S]*1 run/);
    await row.locator('.brief-aside time').waitFor();
  });
});

test('bar at the foot of a phone names four screens, and More the others', async () => {
  await withPage('/runs', PHONE, async (page) => {
    const bar = page.getByRole('navigation', { name: 'Screens' });
    const names = await bar.locator('.nav-name').allInnerTexts();
    expect(names).toEqual(['Now', 'Runs', 'Deliveries', 'Alerts', 'More']);
    await bar.getByRole('button', { name: 'More' }).click();
    const more = page.getByRole('dialog', { name: 'More' });
    await more.getByRole('link', { name: 'Endpoints' }).click();
    await page.getByRole('heading', { level: 1, name: 'Endpoints' }).waitFor();
    expect(await more.count()).toBe(0);
  });
});

test('an endpoint on a phone opens to its figures', async () => {
  await withPage('/endpoints', PHONE, async (page) => {
    const card = page.locator('.card', { hasText: LONG_ENDPOINT }).first();
    expect(await card.getByText('Backlog').isVisible()).toBe(false);
    await card.locator('summary').click();
    await card.getByText('Backlog').waitFor();
  });
});

test('a delivery says its workflow and a short id of its run, and one of an alert its rule', async () => {
  await withPage(`/deliveries?run=${failed}`, DESK, async (page) => {
    const row = page.locator('tr[data-key]').first();
    await row.getByText('support triage').waitFor();
    await row.getByText(failed.slice(0, 8)).waitFor();
    await page.getByLabel('Run', { exact: true }).fill('');
    await page.keyboard.press('Enter');
    await page.locator(`tr[data-key="${delivery}"]`).getByText(LONG_RULE).waitFor();
  });
});

test('chips of the alerts count those of each state', async () => {
  await withPage('/alerts?state=resolved', DESK, async (page) => {
    const chips = page.getByRole('group', { name: 'State' });
    await chips.locator('.count').first().waitFor();
    const texts = await chips.getByRole('link').allInnerTexts();
    const counts = texts.map((text) => text.replaceAll(/\s+/g, ' '));
    expect(counts).toEqual(['All 3', 'Firing 3', 'Acknowledged 0', 'Pending 0', 'Resolved 0']);
  });
});

test('palette finds an endpoint, an alert and an action by a word of their names', async () => {
  await withPage('/system', DESK, async (page) => {
    const choose = async (text: string, option: RegExp) => {
      await page.keyboard.press('Control+k');
      const dialog = page.getByRole('dialog', { name: 'Go to' });
      await dialog.getByRole('combobox').fill(text);
      await dialog.getByRole('option', { name: option }).first().click();
    };
    await choose('receiver-', /endpoint$/);
    await page.waitForURL(`**/deliveries?endpoint=${LONG_ENDPOINT}`);
    await choose('support alert', /alert · firing$/);
    await page.waitForURL('**/alerts/*');
    await page.locator('h1').getByText('support triage').waitFor();
    await choose('silence', /action$/);
    await page.getByRole('dialog', { name: 'Silence' }).waitFor();
  });
});

test('a field of Deliveries takes the beginning of the id of a run', async () => {
  await withPage('/deliveries', DESK, async (page) => {
    await page.getByLabel('Run', { exact: true }).fill(failed.slice(0, 8));
    await page.keyboard.press('Enter');
    await page.waitForURL(`**/deliveries?run=${failed}`);
    await page.locator('tr[data-key]').first().getByText('support triage').waitFor();
  });
});

test('an address that is no screen is a page in a browser, and JSON to other clients', async () => {
  await withPage('/nosuch/deep?x=1', DESK, async (page) => {
    await page.getByText('There is no such screen.').waitFor();
    await page.getByRole('link', { name: 'What is going on now' }).click();
    await page.getByRole('heading', { level: 1, name: 'Now' }).waitFor();
  });
  const answers = await Promise.all(
    [
      ['/nosuch', '*/*'],
      ['/v1/nosuch', 'text/html'],
      ['/nosuch', 'text/html,application/xhtml+xml'],
    ].map(async ([path, accept = '']) => {
      const { status, headers } = await fetch(`${stage.url}${path}`, { headers: { accept } });
      return [status, headers.get('content-type')];
    }),
  );
  expect(answers).toEqual([
    [404, 'application/problem+json; charset=utf-8'],
    [404, 'application/problem+json; charset=utf-8'],
    [404, 'text/html; charset=utf-8'],
  ]);
});
