import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { GithubActions } from '../support/apis/github-actions.ts';
import { runBuiltCli } from '../support/built-cli.ts';
import {
  startDaemonProcess,
  stopAll,
  tempDir,
  type DaemonProcess,
} from '../support/daemon-process.ts';
import { PAGERDUTY, ROUTING_KEY } from '../support/services/pagerduty.ts';
import { startService } from '../support/services/service.ts';
import { waitFor } from '../support/wait-for.ts';

/** What the variables in the configurations of the README hold. */
const VARIABLES = {
  NOXUS_API_KEY: 'key-of-this-test',
  GH_TOKEN: 'ghp_of-this-test',
  PAGERDUTY_ROUTING_KEY: ROUTING_KEY,
  OPS_SECRET: `whsec_${Buffer.alloc(32, 7).toString('base64')}`,
  SLACK_WEBHOOK_URL: 'https://hooks.slack.com/services/T0/B0/of-this-test',
};

/** The configurations of the README and of docs/destinations.md, by the first source of each. */
const blocks = new Map<string, string>();
const daemons: DaemonProcess[] = [];
let folder: string;

beforeAll(async () => {
  folder = await tempDir();
  for (const page of ['README.md', 'docs/destinations.md']) {
    const markdown = await readFile(join(import.meta.dirname, '../..', page), 'utf8');
    for (const [, text = ''] of markdown.matchAll(/^```yaml\n([^]*?)^```$/gm)) {
      const { sources } = parse(text) as { sources?: object };
      if (sources !== undefined) blocks.set(Object.keys(sources)[0] ?? '', text);
    }
  }
});

afterAll(async () => {
  await stopAll(daemons);
  await rm(folder, { recursive: true, force: true });
});

test('config --check --strict takes each configuration of the README and of destinations as it stands', async () => {
  expect([...blocks.keys()]).toEqual(['github', 'default']);
  for (const [source, text] of blocks) {
    const path = join(folder, `${source}.yaml`);
    await writeFile(path, text);
    const checked = await runBuiltCli(
      ['config', '--check', '--strict', '--config', path],
      VARIABLES,
    );
    expect(checked).toMatchObject({ exitCode: 0, stderr: '' });
  }
});

test('by the configuration of the README an approval in GitHub Actions pages until it is given', async () => {
  const github = await new GithubActions().listen();
  const pagerduty = await startService(PAGERDUTY);
  try {
    // As it stands, but for the two addresses.
    const text = (blocks.get('github') ?? '')
      .replace('https://api.github.com', github.url)
      .replace('type: pagerduty,', `type: pagerduty, api_url: '${pagerduty.url}',`);
    const daemon = await startDaemonProcess({
      config: parse(text) as Record<string, unknown>,
      env: VARIABLES,
    });
    daemons.push(daemon);
    const id = github.add({ name: 'Deploy' });
    github.setStatus(id, 'in_progress');
    const cli = { RUNWATCH_URL: daemon.url };
    expect(await runBuiltCli(['watch', id], cli)).toMatchObject({ exitCode: 0 });
    github.setStatus(id, 'waiting');
    const trigger = await waitFor(() => pagerduty.requests[0]?.body, { describe: daemon.stderr });
    expect(trigger).toMatchObject({
      event_action: 'trigger',
      payload: { summary: expect.stringContaining('Deploy') },
      links: [{ href: `https://github.com/${id.replace(/\/(?=\d)/, '/actions/runs/')}` }],
    });
    github.approve(id);
    const resolve = await waitFor(() => pagerduty.requests[1]?.body);
    expect(resolve).toMatchObject({ event_action: 'resolve', dedup_key: trigger['dedup_key'] });
    github.setStatus(id, { completed: 'success' });
    expect(await runBuiltCli(['wait', id], cli)).toMatchObject({ exitCode: 0 });
    expect([pagerduty.requests.length, pagerduty.refusals]).toEqual([2, []]);
  } finally {
    await github.close();
    await pagerduty.close();
  }
});
