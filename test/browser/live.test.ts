import { afterAll, beforeAll, beforeEach, afterEach, describe, expect, test } from '@jest/globals';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import {
  closePage,
  drawn,
  hold,
  launchBrowser,
  newContext,
  openPageIn,
  type WatchedPage,
} from '../support/browser.ts';
import { waitForWatch } from '../support/daemon-listings.ts';
import { openStage, WORKFLOWS, type Stage } from '../support/dashboard-stage.ts';
import { waitFor } from '../support/wait-for.ts';

let stage: Stage;
let browser: Browser;
let context: BrowserContext;
let watched: WatchedPage;
let page: Page;

beforeAll(async () => {
  browser = await launchBrowser();
  stage = await openStage();
  context = await newContext(browser);
});

afterAll(async () => {
  await browser?.close();
  await stage?.close();
});

beforeEach(async () => {
  watched = await openPageIn(context, { url: `${stage.url}/` });
  ({ page } = watched);
  await page.getByText('Live', { exact: true }).waitFor();
});

afterEach(() => closePage(watched));

const running = {
  workflow_id: WORKFLOWS.invoices,
  age_ms: 60_000,
  steps: [{ after_ms: 100, status: 'running', progress: 20 }],
};

/**
 * A run that a poll has found running. The first state of a run is no event, so a page that is opened before
 * that poll does not hear of it.
 */
async function watchRunning(): Promise<string> {
  const id = await stage.run(running);
  await waitForWatch(stage.daemon, id, ({ run }) => run !== null);
  return id;
}

const row = (id: string) => page.locator(`tr[data-key="default/${id}"]`);

async function open(path: string): Promise<void> {
  await page.goto(`${stage.url}${path}`);
  await page.getByText('Live', { exact: true }).waitFor();
}

test('the theme and the zone of times are chosen by a switch and kept', async () => {
  const theme = () => page.evaluate(() => document.documentElement.dataset['theme']);
  await page.getByRole('button', { name: 'Light or dark' }).click();
  await page.getByRole('button', { name: 'Local' }).click();
  await page.getByRole('button', { name: 'UTC' }).waitFor();
  expect(await theme()).toBe('dark');
  await page.reload();
  await page.getByRole('button', { name: 'UTC' }).waitFor();
  expect(await theme()).toBe('dark');
});

describe('live updates', () => {
  test.each([
    ['/', "runwatch watch '<run-id>'"],
    ['/runs', "runwatch watch '<run-id>'"],
    ['/deliveries', 'Nothing was sent yet.'],
    ['/alerts', 'A rule of the configuration makes one alert of many events'],
    ['/workflows', 'No run of any workflow was watched in the last 24h.'],
  ])('while nothing is watched, the screen %s says what to do: %s', async (path, words) => {
    await page.goto(`${stage.url}${path}`);
    await page.getByText(words).first().waitFor();
  });

  test('without a source, the dashboard says which variable to set', async () => {
    await page.route('**/v1/sources', (route) => route.fulfill({ json: { data: [] } }));
    await page.goto(`${stage.url}/runs`);
    await page.getByText('NOXUS_API_KEY=… runwatch serve').waitFor();
  });

  test('a listing that the server refuses for now shows as soon as it is answered', async () => {
    const id = await watchRunning();
    let refused = 0;
    await page.route(/\/v1\/watches\?/, async (route) => {
      if (refused === 2) return route.continue();
      refused += 1;
      await route.fulfill({ status: 429, headers: { 'retry-after': '1' }, json: {} });
    });
    await open('/runs');
    await row(id).getByText('running').waitFor();
    expect(refused).toBe(2);
  });

  test('a change of a run shows in its row, which keeps its place', async () => {
    const id = await watchRunning();
    await open('/runs');
    await row(id).getByText('running').waitFor();
    stage.noxus.setStatus(id, 'failed', 70);
    await row(id).getByText('failed').waitFor();
  });

  test('a row that came before the first poll of its run shows the state that was polled', async () => {
    stage.noxus.fault({ kind: 'status', status: 503, on: 'run' });
    const id = await stage.run(running);
    await open('/runs');
    await row(id).getByText('unseen').waitFor();
    stage.noxus.clearFaults();
    await row(id).getByText('running').waitFor();
  });

  test('new runs wait behind a button while the pointer is on the list', async () => {
    const first = await watchRunning();
    await open('/runs?status=running');
    await row(first).getByText('running').hover();
    const second = await watchRunning();
    await page.getByRole('button', { name: '1 new run' }).click();
    await row(second).waitFor();
  });

  test('a page of newer runs that comes after a row was marked waits behind the button', async () => {
    const first = await watchRunning();
    await open('/runs?status=running');
    await row(first).getByText('running').waitFor();
    const held = await hold(page, /\/v1\/watches\?.*limit=200/);
    const second = await watchRunning();
    await waitFor(() => held.requests.length > 0);
    await page.keyboard.press('j');
    await page.locator('tbody tr.marked').waitFor();
    // The mark holds the list from the next frame on.
    await drawn(page);
    const answered = page.waitForResponse(/limit=200/);
    held.letGo();
    await (await answered).finished();
    await drawn(page);
    expect(await row(second).count()).toBe(0);
    await page.getByRole('button', { name: '1 new run' }).waitFor();
  });

  test('paused updates are counted, and shown once they go on', async () => {
    const id = await watchRunning();
    await open('/runs');
    // Under the pointer, a list that is paused is not loaded anew either.
    await row(id).getByText('running').hover();
    await page.keyboard.press('.');
    await page.getByText('Paused', { exact: true }).waitFor();
    stage.noxus.setStatus(id, 'completed', 100);
    await page.locator('.live', { hasText: /[1-9]\d* new/ }).waitFor();
    expect(await row(id).getByText('running').count()).toBe(1);
    await page.getByRole('heading', { level: 1 }).hover();
    await page.keyboard.press('.');
    await row(id).getByText('completed').waitFor();
  });

  test('after a restart of the daemon the dashboard reconnects and shows what was missed', async () => {
    const id = await watchRunning();
    await open('/runs');
    await row(id).getByText('running').waitFor();
    const restarted = stage.restart();
    await page.getByText(/Reconnecting/).waitFor();
    stage.noxus.setStatus(id, 'stopped', 30);
    await restarted;
    await page.getByText('Live', { exact: true }).waitFor();
    await row(id).getByText('stopped').waitFor();
  });
});

describe('keys', () => {
  test.each([
    ['n', 'Now'],
    ['r', 'Runs'],
    ['d', 'Deliveries'],
    ['e', 'Endpoints'],
    ['a', 'Alerts'],
    ['w', 'Workflows'],
    ['s', 'System'],
  ])('the keys g %s go to %s', async (key, title) => {
    await open('/runs?status=failed');
    await page.keyboard.press('g');
    await page.keyboard.press(key);
    await page.getByRole('heading', { level: 1, name: title, exact: true }).waitFor();
  });

  test('j, k, x, a, Enter and Escape work on the rows of a list', async () => {
    const older = await watchRunning();
    const newer = await watchRunning();
    await open('/runs?status=running');
    await row(older).waitFor();
    await row(newer).waitFor();
    const markedAt = (place: number) =>
      page.locator(`tbody tr:nth-child(${place}).marked`).waitFor();
    await page.keyboard.press('j');
    await markedAt(1);
    await page.keyboard.press('j');
    await markedAt(2);
    await page.keyboard.press('k');
    await markedAt(1);
    await page.keyboard.press('x');
    await page.getByText('1 selected run').waitFor();
    await page.keyboard.press('a');
    await page.getByRole('dialog', { name: /Acknowledge run/ }).waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Time axis' }).waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('heading', { level: 1, name: 'Runs' }).waitFor();
  });

  test('Escape leaves the fields of a dialog at once, so that Enter does not send its form', async () => {
    const id = await watchRunning();
    await open(`/runs/default/${id}`);
    await page.getByRole('heading', { name: 'Time axis' }).waitFor();
    await page.keyboard.press('a');
    await page.getByLabel('Your name').focus();
    await page.evaluate(() => {
      const { dataset } = document.documentElement;
      const closed = () => (dataset['focused'] = document.activeElement?.tagName);
      document.addEventListener('close', closed, true);
    });
    await page.keyboard.press('Escape');
    const root = page.locator('html[data-focused]');
    expect(await root.getAttribute('data-focused')).toBe('BODY');
  });

  test('a dialog is open as soon as it is drawn, so that a quick Escape closes it and does not leave the screen', async () => {
    const id = await watchRunning();
    await open(`/runs/default/${id}`);
    await page.getByRole('heading', { name: 'Time axis' }).waitFor();
    const isOpen = await page.evaluate(async () => {
      document.body.dispatchEvent(new KeyboardEvent('keydown', { key: 'a', bubbles: true }));
      // What a key changes is drawn in a microtask.
      await Promise.resolve();
      await Promise.resolve();
      return document.querySelector('dialog')?.open;
    });
    expect(isOpen).toBe(true);
  });

  test('a filter keeps a letter that is typed as its address changes', async () => {
    await open('/runs');
    const filter = page.getByLabel('Filter');
    await filter.waitFor();
    await page.evaluate(() => {
      const { history } = globalThis as any;
      const change = history.replaceState;
      history.replaceState = (...entry: unknown[]) => {
        history.replaceState = change;
        change.apply(history, entry);
        // After the field is drawn again, and before a frame.
        setTimeout(() => document.execCommand('insertText', false, 'c'));
      };
    });
    await filter.focus();
    // At once: between two letters the address could change on a slow machine.
    await page.keyboard.insertText('ab');
    await page.waitForURL('**/runs?q=abc');
    expect(await filter.inputValue()).toBe('abc');
  });

  test('an Escape just after the pointer is down on a chart does not leave the screen', async () => {
    const id = await watchRunning();
    await open(`/runs/default/${id}`);
    const chart = page.locator('.chart');
    await chart.waitFor();
    await chart.evaluate(async (element) => {
      const { right, bottom } = element.getBoundingClientRect();
      const at = { clientX: right - 10, clientY: bottom - 10, bubbles: true };
      element.dispatchEvent(new PointerEvent('pointerdown', at));
      await Promise.resolve();
      await Promise.resolve();
      document.body.dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape', bubbles: true }));
    });
    await drawn(page);
    expect(new URL(page.url()).pathname).toBe(`/runs/default/${id}`);
  });

  test('/ goes to the filter, Escape out of it, and ? lists the keys', async () => {
    await open('/runs');
    await page.getByLabel('Filter').waitFor();
    await page.keyboard.press('/');
    expect(await page.evaluate(() => document.activeElement?.getAttribute('aria-label'))).toBe(
      'Filter',
    );
    await page.keyboard.press('Escape');
    await page.keyboard.press('?');
    await page.getByRole('dialog', { name: 'Keys' }).getByText('acknowledge').waitFor();
  });

  test('the palette opens a run by the beginning of its id', async () => {
    const id = await watchRunning();
    await page.keyboard.press('Control+k');
    await page.getByRole('combobox').fill(id.slice(0, 10));
    await page.getByRole('option', { name: id }).waitFor();
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Time axis' }).waitFor();
    expect(page.url()).toContain(id);
  });

  test('runs that are found do not move the mark of the palette', async () => {
    const json = { data: [{ id: 'show-1', source: 'default' }] };
    const held = await hold(page, '**/v1/lookup?*', { json });
    await page.keyboard.press('Control+k');
    await page.getByRole('combobox').fill('show');
    await page.keyboard.press('ArrowDown');
    const marked = page.getByRole('option', { selected: true });
    await marked.getByText('Show the keys').waitFor();
    held.letGo();
    await page.getByRole('option', { name: 'show-1' }).waitFor();
    expect(await marked.allInnerTexts()).toEqual([expect.stringContaining('Show the keys')]);
    await page.keyboard.press('Enter');
    await page.getByRole('dialog', { name: 'Keys' }).waitFor();
  });
});

describe('ids that only other sources than Noxus have', () => {
  // What the page asks for until it is closed would fail in a handler.
  afterEach(() => page.unrouteAll({ behavior: 'ignoreErrors' }));

  /** Has the API call a run by another id. The stream of events is left as it is. */
  async function rename(id: string, to: string): Promise<void> {
    await page.route(/\/v1\/(?!events\/stream)/, async (route) => {
      const asked = new URL(route.request().url().replaceAll(encodeURIComponent(to), id));
      // A query is encoded in another way than a path.
      if (asked.searchParams.get('q') === to) asked.searchParams.set('q', id);
      const answer = await route.fetch({ url: asked.href });
      const text = (await answer.text()).replaceAll(id, to);
      await route.fulfill({ response: answer, body: text });
    });
  }

  test.each(['acme/shop/123', 'manual__2026-11-28T00:00:00+00:00', "50%25;#o'brien?<b>&amp;"])(
    'the run %s is opened from the list by keys, from the palette, and by its address',
    async (id) => {
      await rename(await watchRunning(), id);
      const opened = async () => {
        await page.getByRole('heading', { name: 'Time axis' }).waitFor();
        expect(await page.locator('h1 .id').textContent()).toBe(id);
        expect(new URL(page.url()).pathname).toBe(`/runs/default/${encodeURIComponent(id)}`);
      };
      await open('/runs?status=running');
      await page.getByRole('link', { name: id, exact: true }).waitFor();
      await page.keyboard.press('j');
      await page.locator('tbody tr:nth-child(1).marked').waitFor();
      await page.keyboard.press('Enter');
      await opened();
      await page.reload();
      await opened();
      await open('/');
      await page.keyboard.press('Control+k');
      await page.getByRole('combobox').fill(id);
      await page.getByRole('option', { name: id }).waitFor();
      await page.keyboard.press('Enter');
      await opened();
    },
  );

  test('the run acme/shop/123 is opened behind a proxy that decodes slashes', async () => {
    const id = 'acme/shop/123';
    await rename(await watchRunning(), id);
    await open(`/runs/default/${id}`);
    await page.getByRole('heading', { name: 'Time axis' }).waitFor();
    expect(await page.locator('h1 .id').textContent()).toBe(id);
  });
});

test('an error goes with the choice that it is of', async () => {
  await page.route('**/v1/workflows?since=7d', (route) => route.fulfill({ status: 500 }));
  const held = await hold(page, '**/v1/workflows?since=30d');
  await open('/workflows?since=7d');
  const trouble = page.getByText('Cannot load');
  await trouble.waitFor();
  await page.getByLabel('Time range').selectOption('30d');
  await waitFor(() => held.requests.length > 0);
  await drawn(page);
  expect(await trouble.count()).toBe(0);
  held.letGo();
});

describe('actions', () => {
  test('a run is acknowledged in the name that the user gives', async () => {
    const id = await stage.run({
      ...running,
      steps: [{ after_ms: 1, status: 'awaiting_human_feedback' }],
    });
    await open(`/runs/default/${id}`);
    await page.getByRole('button', { name: 'Acknowledge' }).click();
    await page.getByLabel('Your name').fill('Ana');
    await page.getByLabel('Comment').fill('asked finance');
    await page.getByRole('dialog').getByRole('button', { name: 'Acknowledge' }).click();
    await page.getByText(/Acknowledged by/).waitFor();
    const { body } = await stage.daemon.api(`/v1/watches/${id}`);
    expect(body.acknowledged).toMatchObject({ by: 'Ana', comment: 'asked finance' });
  });

  test('a button does what it said as it was pressed', async () => {
    const id = await watchRunning();
    await open(`/runs/default/${id}`);
    const button = page.getByRole('button', { name: 'Acknowledge' });
    await button.waitFor();
    const held = await hold(page, `**/v1/watches/${id}?*`);
    await waitFor(() => held.requests.length > 0);
    await stage.daemon.api(`/v1/watches/${id}/acknowledge`, { by: 'Ben' });
    await button.hover();
    await page.mouse.down();
    const answered = page.waitForResponse((answer) => answer.url().includes(`/v1/watches/${id}?`));
    held.letGo();
    await (await answered).finished();
    await drawn(page);
    await page.mouse.up();
    await page.getByRole('dialog', { name: `Acknowledge run ${id}` }).waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('button', { name: 'Take acknowledgement back' }).waitFor();
  });

  test('an endpoint is tested, paused and resumed', async () => {
    await open('/endpoints');
    const card = page.getByRole('region', { name: 'ops' });
    await card.getByRole('button', { name: 'Test' }).click();
    await page.getByText(/ops took the test/).waitFor();
    await card.getByRole('button', { name: 'Pause' }).click();
    await card.getByText('paused', { exact: true }).waitFor();
    await card.getByRole('button', { name: 'Resume' }).click();
    await card.getByText('active', { exact: true }).waitFor();
  });

  test('the buttons of an endpoint do not move when its last error is read', async () => {
    const id = await stage.run({ ...running, steps: [{ after_ms: 1, status: 'failed' }] });
    await waitFor(async () => {
      const { body } = await stage.daemon.api(`/v1/deliveries?endpoint=flaky&run_id=${id}`);
      return body.data[0]?.attempt_count > 0;
    });
    const held = await hold(page, '**/v1/deliveries?endpoint=*');
    await open('/endpoints');
    const places = () =>
      Promise.all(
        ['ops', 'flaky'].map((name) =>
          page.getByRole('region', { name }).getByRole('button', { name: 'Test' }).boundingBox(),
        ),
      );
    await waitFor(() => held.requests.length >= 2);
    const before = await places();
    held.letGo();
    await page.getByText('Last error').waitFor();
    expect(await places()).toEqual(before);
  });

  test('alerts that fire stand before newer ones that are over', async () => {
    const end = async (name: keyof typeof WORKFLOWS, status: string, alerts: string) => {
      const steps = [{ after_ms: 1, status, progress: 50 }];
      await stage.run({ ...running, workflow_id: WORKFLOWS[name], steps });
      await waitFor(async () => {
        const { body } = await stage.daemon.api(`/v1/alerts?state=${alerts}`);
        return JSON.stringify(body.data).includes(WORKFLOWS[name]);
      });
    };
    await end('onboarding', 'failed', 'firing');
    await end('weekly report', 'failed', 'firing');
    await end('weekly report', 'completed', 'resolved');
    await open('/alerts');
    await page.locator('tbody tr', { hasText: 'resolved' }).first().waitFor();
    const states = await page.locator('tbody .col-state').allTextContents();
    expect(states).toContain('firing');
    expect(states).toEqual(states.toSorted());
  });

  test('selected runs are unwatched after a preview of them', async () => {
    const id = await watchRunning();
    await open('/runs?status=running');
    await row(id).getByRole('checkbox').check();
    await page.getByRole('button', { name: 'Unwatch …' }).click();
    const dialog = page.getByRole('dialog', { name: 'Unwatch 1 run?' });
    await dialog.getByText(id).waitFor();
    await dialog.getByRole('button', { name: 'Unwatch' }).click();
    await page.getByText('Stopped watching 1 run.').waitFor();
    const { body } = await stage.daemon.api(`/v1/watches/${id}`);
    expect(body.state).toBe('cancelled');
  });

  test('redelivering selected runs says first how many deliveries did not arrive', async () => {
    await stage.daemon.api('/v1/endpoints/flaky/pause', {});
    const id = await stage.run({
      ...running,
      steps: [{ after_ms: 1, status: 'failed', progress: 20 }],
    });
    await waitFor(async () => {
      const { body } = await stage.daemon.api(`/v1/deliveries?run_id=${id}&state=parked`);
      return body.data.length === 1;
    });
    await open('/runs?status=failed');
    await row(id).getByRole('checkbox').check();
    await page.getByRole('button', { name: 'Redeliver …' }).click();
    const dialog = page.getByRole('dialog', { name: 'Redeliver 1 delivery?' });
    await dialog.getByText('1 waiting for flaky').waitFor();
    await dialog.getByRole('button', { name: 'Redeliver' }).click();
    await page.getByText('Sent again 1 delivery.').waitFor();
    await stage.daemon.api('/v1/endpoints/flaky/resume', {});
  });

  test('kiosk shows no control', async () => {
    await stage.run({ ...running, steps: [{ after_ms: 1, status: 'awaiting_human_feedback' }] });
    await waitFor(async () => (await stage.daemon.api('/v1/attention')).body.data.length > 0);
    await open('/?kiosk');
    await page.locator('.need').first().waitFor();
    await page.locator('.lane-chart').first().waitFor();
    expect(await page.getByRole('navigation').count()).toBe(0);
    expect(await page.getByRole('button').count()).toBe(0);
  });
});
