import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from '@jest/globals';
import { loadConfig } from '../../src/config/load.ts';
import { formatProblem } from '../../src/config/problems.ts';

const FOLDER = fileURLToPath(new URL('../../config/examples/', import.meta.url));

const ENV = {
  HOME: '/home/me',
  NOXUS_API_KEY: 'nox',
  SLACK_WEBHOOK_URL: 'https://hooks.slack.com/services/T0/B0/x',
  SLACK_BOT_TOKEN: 'xoxb-token',
  PAGERDUTY_ROUTING_KEY: 'R0123456789abcdef0123456789abcde',
  SMTP_PASSWORD: 'smtp-password',
};

test.each(readdirSync(FOLDER))('config/examples/%s passes config --check --strict', (file) => {
  const configPath = FOLDER + file;
  const loaded = loadConfig({ purpose: 'serve', env: ENV, configPath, strict: true });
  expect(loaded.kind === 'invalid' ? loaded.problems.map(formatProblem) : []).toEqual([]);
});
