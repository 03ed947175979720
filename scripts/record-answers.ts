import { writeFile } from 'node:fs/promises';
import { answersPath, askAll } from '../test/support/recorded-answers.ts';
import { recordedForms } from '../test/support/recorded-store.ts';
import { startPrivateRedis } from '../test/support/redis.ts';
import { startStanding } from '../test/support/standing-daemon.ts';

/**
 * Records what the API answers about the recorded stores of all forms, beside them. An answer that has changed is one
 * that users get after an upgrade: look at what git shows of it.
 */

const server = await startPrivateRedis();
try {
  for (const form of recordedForms()) await record(form);
} finally {
  await server.stop();
}

async function record(form: string): Promise<void> {
  const daemon = await startStanding({ url: server.url, prefix: `form-${form}` }, form);
  const answers = await askAll(daemon.get);
  await daemon.stop();
  const lines = answers.map((answer) => JSON.stringify(answer));
  await writeFile(answersPath(form), `${lines.join('\n')}\n`);
  process.stdout.write(`form ${form}: ${answers.length} answers\n`);
}
