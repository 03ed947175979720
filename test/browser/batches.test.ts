import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import {
  closePage,
  launchBrowser,
  newContext,
  openPageIn,
  violationsOf,
  type WatchedPage,
} from '../support/browser.ts';
import { openStage, WORKFLOWS, type Stage } from '../support/dashboard-stage.ts';
import { waitFor } from '../support/wait-for.ts';

const PHONE = { width: 390, height: 844 };
const DESK = { width: 1_280, height: 900 };
const NARROWEST = { width: 360, height: 780 };

let stage: Stage;
let browser: Browser;
let context: BrowserContext;
/** The name of the batch of a test. */
let name: string;
let turn = 0;

beforeAll(async () => {
  browser = await launchBrowser();
  stage = await openStage({ config: { rules: [] } });
  context = await newContext(browser);
});

beforeEach(() => {
  turn += 1;
  name = `nightly-${turn}-of-`.padEnd(63, 'many');
});

afterAll(async () => {
  await browser?.close();
  await stage?.close();
});

const api = (path: string, body?: unknown, method?: string) => stage.daemon.api(path, body, method);

/** Has a run with a status join the batch of the test. @returns its id, once it was polled */
async function join(status: string): Promise<string> {
  const id = await stage.run(
    {
      workflow_id: WORKFLOWS.invoices,
      age_ms: 60_000,
      steps: [{ after_ms: 1, status, progress: 40 }],
    },
    { batch: name },
  );
  await waitFor(async () => (await api(`/v1/watches/${id}`)).body.run !== null);
  return id;
}

const current = async () => (await api(`/v1/batches/${name}`)).body;

async function withPage(
  path: string,
  work: (page: Page, watched: WatchedPage) => Promise<void>,
  options: Omit<Parameters<typeof openPageIn>[1], 'url'> = DESK,
): Promise<void> {
  const watched = await openPageIn(context, { url: `${stage.url}${path}`, ...options });
  try {
    await work(watched.page, watched);
  } finally {
    await closePage(watched);
  }
}

/** The methods of the requests by which a page changes something from now on. */
function changesOf(page: Page): string[] {
  const methods: string[] = [];
  page.on('request', (request) => {
    if (request.method() !== 'GET') methods.push(request.method());
  });
  return methods;
}

const cell = (page: Page, id: string) => page.locator(`.cell[href$="${id}"]`);

/** Gives the page the session of a token with some scopes. */
async function limitTo(page: Page, scopes: readonly string[]): Promise<void> {
  await page.route('**/session', async (route) => {
    const response = await route.fetch();
    await route.fulfill({ json: { ...((await response.json()) as object), scopes } });
  });
  await page.reload();
}

describe('page of a batch', () => {
  test('a run that fails, and one that joins, show on the page of a batch while it is open', async () => {
    const first = await join('running');
    await withPage(`/batches/${name}`, async (page) => {
      await page.getByText('0 of 1 ended').waitFor();
      await cell(page, first).getByText('R', { exact: true }).waitFor();
      stage.noxus.setStatus(first, 'failed', 70);
      await cell(page, first).getByText('F', { exact: true }).waitFor();
      await page.getByText('1 of 1 ended').waitFor();
      await page.getByRole('link', { name: 'failed 1' }).waitFor();
      const second = await join('running');
      await cell(page, second).getByText('R', { exact: true }).waitFor();
      await page.getByText('1 of 2 ended').waitFor();
    });
  });

  test('cells of a batch change in place under the pointer, and new ones wait until it leaves', async () => {
    const first = await join('running');
    await withPage(`/batches/${name}`, async (page) => {
      await cell(page, first).hover();
      const second = await join('running');
      await page.getByText('0 of 2 ended').waitFor();
      stage.noxus.setStatus(first, 'failed', 70);
      await cell(page, first).getByText('F', { exact: true }).waitFor();
      await page.getByText('1 of 2 ended').waitFor();
      expect(await cell(page, second).count()).toBe(0);
      await page.getByRole('heading', { level: 1 }).hover();
      await cell(page, second).waitFor();
    });
  });

  test('runs that joined a batch while the page of a run was open are shown on the return', async () => {
    const first = await join('running');
    await withPage(`/batches/${name}`, async (page) => {
      await cell(page, first).click();
      await page.waitForURL(`**/runs/default/${first}`);
      // Under the pointer, cells keep their places.
      await page.getByRole('heading', { level: 1 }).hover();
      const second = await join('running');
      await page.goBack();
      await cell(page, second).waitFor();
    });
  });

  test('a run that is watched no more shows so on the page of a batch', async () => {
    const id = await join('running');
    await withPage(`/batches/${name}`, async (page) => {
      await cell(page, id).getByText('R', { exact: true }).waitFor();
      await api(`/v1/watches/${id}`, undefined, 'DELETE');
      await cell(page, id).getByText('X', { exact: true }).waitFor();
    });
  });

  test('a cell names the status, workflow and id of its run, and leads to it', async () => {
    const id = await join('completed');
    await withPage(`/batches/${name}`, async (page) => {
      const link = page.getByRole('link', { name: `completed: invoices, ${id}` });
      expect(await link.getAttribute('title')).toBe(`completed: invoices, ${id}`);
      await link.click();
      await page.waitForURL(`**/runs/default/${id}`);
    });
  });

  test('a status of a batch shows its runs alone, and leads to them as a list', async () => {
    const failed = await join('failed');
    const completed = await join('completed');
    await withPage(`/batches/${name}`, async (page) => {
      await cell(page, completed).waitFor();
      await page.getByRole('link', { name: 'failed 1' }).click();
      await page.waitForURL('**?status=failed');
      await waitFor(async () => (await cell(page, completed).count()) === 0);
      await cell(page, failed).waitFor();
      await page.getByRole('link', { name: 'Those failed as a list' }).click();
      await page.locator(`tr[data-key="default/${failed}"]`).waitFor();
      expect(await page.locator('tr[data-key]').count()).toBe(1);
    });
  });

  test('of 201 runs of a batch, the page shows 200 and the others when it is asked, and follows these', async () => {
    const oldest = await join('running');
    const steps = [{ after_ms: 1, status: 'completed', progress: 100 }];
    const watches = Array.from({ length: 200 }, () => ({
      run_id: stage.noxus.add({ age_ms: 60_000, steps }).id,
    }));
    await api('/v1/watches/batch', { watches, batch: name });
    await waitFor(async () => (await current()).by_status.completed === 200, {
      timeoutMs: 120_000,
    });
    await withPage(`/batches/${name}`, async (page) => {
      await page.getByText('200 of 201 runs').waitFor();
      expect(await page.locator('.cell').count()).toBe(200);
      await page.getByRole('button', { name: 'Show more' }).click();
      await page.locator('.cell').nth(200).waitFor();
      expect(await page.getByRole('button', { name: 'Show more' }).count()).toBe(0);
      await cell(page, oldest).getByText('R', { exact: true }).waitFor();
      await api(`/v1/watches/${oldest}`, undefined, 'DELETE');
      await cell(page, oldest).getByText('X', { exact: true }).waitFor();
    });
  });

  test('a batch that there is not leads to those that there are', async () => {
    await withPage(`/batches/${name}`, async (page) => {
      await page.getByText(`There is no batch ${name}.`).waitFor();
      await page.getByRole('link', { name: 'All batches' }).click();
      await page.getByRole('heading', { level: 1, name: 'Batches' }).waitFor();
    });
  });
});

describe('actions on a batch', () => {
  test('a batch is closed after a question, and completes when its runs have ended', async () => {
    const id = await join('running');
    await withPage(`/batches/${name}`, async (page) => {
      const dialog = page.getByRole('dialog');
      const changes = changesOf(page);
      await page.getByRole('button', { name: 'Close …' }).click();
      await dialog.getByText('It completes when 1 more run has ended.').waitFor();
      await dialog.getByRole('button', { name: 'Cancel' }).click();
      expect((await current()).state).toBe('open');

      await page.getByRole('button', { name: 'Close …' }).click();
      await dialog.getByRole('button', { name: 'Close', exact: true }).click();
      await page.getByText('by a call').waitFor();
      expect(changes).toEqual(['POST']);
      await waitFor(
        async () => (await page.getByRole('button', { name: 'Close …' }).count()) === 0,
      );
      expect((await current()).state).toBe('closed');

      stage.noxus.setStatus(id, 'completed', 100);
      await page.locator('.facts').getByText('completed', { exact: true }).waitFor();
    });
  });

  test('the delivery of an event of a batch names the batch in the list, and leads to it', async () => {
    const id = await join('running');
    await api(`/v1/batches/${name}/close`, {});
    stage.noxus.setStatus(id, 'completed', 100);
    await withPage('/deliveries', async (page) => {
      await page.locator('tr', { hasText: name }).getByRole('link', { name }).first().click();
      await page.getByLabel('The event as JSON').getByText(name).waitFor();
      await page.locator('.facts').getByRole('link', { name }).click();
      await page.waitForURL(`**/batches/${(await current()).id}`);
    });
  });

  test('a batch is deleted after a question, and its run is watched as before', async () => {
    const id = await join('running');
    await withPage(`/batches/${name}`, async (page) => {
      const dialog = page.getByRole('dialog');
      const changes = changesOf(page);
      await page.getByRole('button', { name: 'Delete …' }).click();
      await dialog.getByText('Its runs are watched as before').waitFor();
      await dialog.getByRole('button', { name: 'Cancel' }).click();
      expect((await current()).name).toBe(name);

      await page.getByRole('button', { name: 'Delete …' }).click();
      await dialog.getByRole('button', { name: 'Delete', exact: true }).click();
      await page.getByRole('heading', { level: 1, name: 'Batches' }).waitFor();
      expect(changes).toEqual(['DELETE']);
      expect((await api(`/v1/batches/${name}`)).status).toBe(404);
      expect((await api(`/v1/watches/${id}`)).body.state).toBe('active');
    });
  });

  test('a token that may not write sees no button that closes or deletes a batch', async () => {
    await join('completed');
    await withPage(`/batches/${name}`, async (page) => {
      await page.getByRole('button', { name: 'Delete …' }).waitFor();
      await limitTo(page, ['read']);
      await page.getByRole('button', { name: 'Copy id' }).waitFor();
      expect(await page.getByRole('button', { name: /Close|Delete/ }).count()).toBe(0);
    });
  });
});

describe('page of a run', () => {
  test('the page of a run names its batches', async () => {
    const id = await join('running');
    await withPage(`/runs/${id}`, async (page) => {
      const own = page.getByRole('region', { name: 'Of the run' });
      await own.getByText(name, { exact: true }).waitFor();
      await own.getByText('batches', { exact: true }).waitFor();
    });
  });
});

describe('list of batches', () => {
  test('a batch in the list says its state, its counts and what failed, live', async () => {
    const id = await join('running');
    await join('failed');
    const { id: batch } = await current();
    await withPage('/batches', async (page) => {
      const row = page.locator(`tr[data-key="${batch}"]`);
      await row.getByText('1 of 2', { exact: true }).waitFor();
      await row.getByRole('img', { name: '1 failed, 1 running' }).waitFor();
      await row.getByText('open').waitFor();
      stage.noxus.setStatus(id, 'completed', 100);
      await row.getByText('2 of 2', { exact: true }).waitFor();
      await api(`/v1/batches/${name}`, { max_failed: 0 }, 'PUT');
      await row.getByText('1, too many').waitFor();
      await row.getByText('open').click();
      await page.waitForURL(`**/batches/${batch}`);
    });
  });

  test('a batch in the list of a phone has two lines, its name first', async () => {
    await join('completed');
    const { id } = await current();
    await withPage(
      '/batches',
      async (page) => {
        const row = page.locator(`tr[data-key="${id}"]`);
        await row.waitFor();
        expect(await row.innerText()).toMatch(new RegExp(`^${name}\\s`));
        await row.getByText('1 of 1 ended').waitFor();
        const lines = await row.locator('.brief').evaluate((brief) => brief.clientHeight);
        expect(lines).toBeLessThan(58);
      },
      PHONE,
    );
  });

  test('the states of batches filter the list, and an empty one leads back to all', async () => {
    await join('completed');
    await withPage('/batches?state=closed', async (page) => {
      await page.getByText('No batch is closed.').waitFor();
      await page.getByRole('link', { name: 'Show all batches' }).click();
      await page.locator('tr[data-key]').first().waitFor();
    });
  });

  test('the palette finds a batch by a part of its name', async () => {
    await join('completed');
    const { id } = await current();
    await withPage('/', async (page) => {
      await page.getByText('Live', { exact: true }).waitFor();
      await page.keyboard.press('Control+k');
      await page.getByRole('combobox').fill(`nightly-${turn}-`);
      await page.getByRole('option', { name: `${name} batch` }).click();
      await page.waitForURL(`**/batches/${id}`);
    });
  });

  test('a batch that should be closed leads from Now to its page', async () => {
    await join('completed');
    await withPage('/', async (page) => {
      await page.route('**/v1/attention', async (route) => {
        const item = {
          kind: 'batch',
          severity: 'info',
          count: 1,
          since: new Date().toISOString(),
          message: 'it is open and has no active run',
          batch: name,
        };
        await route.fulfill({ json: { data: [item], counts: { batch: 1 } } });
      });
      await page.reload();
      await page.locator('.need', { hasText: 'Open batch' }).getByRole('link').click();
      await page.getByRole('button', { name: 'Close …' }).waitFor();
    });
  });
});

describe.each([
  ['list of batches', () => '/batches', 'tr[data-key]'],
  ['page of a batch', () => `/batches/${name}`, '.cell'],
])('accessibility of the %s', (_name, path, part) => {
  test.each([
    ['light', PHONE],
    ['dark', PHONE],
    ['light', DESK],
    ['dark', DESK],
  ] as const)(
    'no violation of accessibility, no error, and nothing too wide (%s, %o)',
    async (theme, size) => {
      for (const status of [
        'completed',
        'failed',
        'running',
        'awaiting_human_feedback',
        'stopped',
      ]) {
        await join(status);
      }
      await withPage(
        path(),
        async (page, { errors, foreign }) => {
          await page.locator(part).first().waitFor();
          const found = await violationsOf(page);
          expect(found).toEqual([]);
          await page.setViewportSize(NARROWEST);
          const tooWide = () =>
            page.evaluate(() => {
              const { scrollWidth, clientWidth } = document.documentElement;
              return scrollWidth > clientWidth;
            });
          await waitFor(async () => !(await tooWide()));
          expect([errors, foreign]).toEqual([[], []]);
        },
        { theme, ...size },
      );
    },
  );
});
