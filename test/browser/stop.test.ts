import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Browser, Page } from 'playwright-core';
import { launchBrowser, openPage } from '../support/browser.ts';
import { openStage, WORKFLOWS, type Stage } from '../support/dashboard-stage.ts';
import { waitFor } from '../support/wait-for.ts';

const ADMIN = 'a-token-that-may-do-everything';
const WRITER = 'a-token-that-may-write';

let stage: Stage;
let browser: Browser;

beforeAll(async () => {
  browser = await launchBrowser();
  const tokens = [{ name: 'writer', token: WRITER, scopes: ['read', 'write'] }];
  stage = await openStage({
    env: { RUNWATCH_API_TOKEN: ADMIN },
    config: { auth: { tokens }, rules: [] },
  });
});

afterAll(async () => {
  await browser?.close();
  await stage?.close();
});

/** Opens the page of a run with a session, and closes it after the work. */
async function onRun(
  id: string,
  token: string,
  work: (page: Page) => Promise<void>,
): Promise<void> {
  const { page, context } = await openPage(browser, { url: `${stage.url}/runs/default/${id}` });
  try {
    await page.getByLabel('Token').fill(token);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('button', { name: 'Copy id' }).waitFor();
    await work(page);
  } finally {
    await context.close();
  }
}

const runAt = (status: string) =>
  stage.run({
    workflow_id: WORKFLOWS.invoices,
    age_ms: 60_000,
    steps: [{ after_ms: 1, status, progress: 40 }],
  });

const button = (page: Page) => page.getByRole('button', { name: 'Stop run' });

test('the button that stops a run asks first, and says what became of it', async () => {
  const id = await runAt('running');
  await onRun(id, ADMIN, async (page) => {
    await button(page).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByText(id).waitFor();
    await dialog.getByRole('button', { name: 'Cancel' }).click();
    expect(stage.noxus.requests.stops).toBe(0);

    stage.noxus.fault({ kind: 'status', status: 403, on: 'stop', count: 1 });
    await button(page).click();
    await dialog.getByRole('button', { name: 'Stop run' }).click();
    await page.getByRole('status').getByText('lacks the right to stop runs').waitFor();
    expect(stage.noxus.requests.stops).toBe(1);

    await button(page).click();
    await dialog.getByRole('button', { name: 'Stop run' }).click();
    await page.getByRole('status').getByText('Asked default to stop the run.').waitFor();
    await waitFor(async () => (await button(page).count()) === 0);
    expect(stage.noxus.requests.stops).toBe(2);
  });
});

test('the button that stops a run is not there for a token that may not admin', async () => {
  const id = await runAt('running');
  await onRun(id, WRITER, async (page) => {
    await page.getByRole('button', { name: 'Unwatch' }).waitFor();
    expect(await button(page).count()).toBe(0);
  });
});

test('the button that stops a run is there only where its source can', async () => {
  const id = await runAt('running');
  await onRun(id, ADMIN, async (page) => {
    await button(page).waitFor();
    await page.route('**/v1/sources', async (route) => {
      const response = await route.fetch();
      const sources = (await response.json()) as { data: { can_stop: boolean }[] };
      for (const one of sources.data) one.can_stop = false;
      await route.fulfill({ json: sources });
    });
    const answered = page.waitForResponse('**/v1/sources');
    await page.reload();
    await answered;
    await page.getByRole('button', { name: 'Unwatch' }).waitFor();
    await waitFor(async () => (await button(page).count()) === 0);
  });
});
