/*
 * Checks runwatch with tools of others: `npm run test:interop`. A part in a language that is not
 * installed says so and is left out.
 */
import { mkdir } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { say, type CaseResult, type Part } from './part.ts';
import { chartPart } from './chart.ts';
import { clientParts } from './clients.ts';
import { deployParts } from './deploy.ts';
import { exampleParts } from './examples.ts';
import { metricsPart } from './metrics.ts';
import { FOLDER } from './places.ts';
import { packagePart } from './package.ts';
import { podPart } from './pod.ts';
import { receiverParts } from './receivers.ts';
import { schemathesisParts } from './schemathesis.ts';
import { sdkPart } from './sdk.ts';
import { startStage, stopDaemons, type Stage } from './stage.ts';
import { findTools, killPrograms } from './tools.ts';

/** All of it, tools included, must be over by then, ms. */
const LIMIT_MS = 480_000;

async function play(stage: Stage): Promise<CaseResult[]> {
  const tools = await findTools();
  const parts: Part[] = [
    sdkPart(tools),
    ...schemathesisParts(tools),
    ...receiverParts(tools, stage),
    ...exampleParts(tools),
    ...clientParts(tools, stage),
    metricsPart(stage),
    ...deployParts(),
    chartPart(tools),
    podPart(),
    packagePart(),
  ];
  const results = await Promise.all(parts.map(playPart));
  return results.flat();
}

/** Plays a part and says what came of it; whatever it throws is a case that failed. */
async function playPart({ title, play: playIt, missing }: Part): Promise<CaseResult[]> {
  if (missing !== null) {
    say(`-- ${title}: left out, ${missing}`);
    return [];
  }
  const startedAt = performance.now();
  const results = await playIt().catch((error: unknown) => [
    { title: 'the part itself', problem: error instanceof Error ? error.message : String(error) },
  ]);
  const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1);
  say(`-- ${title} (${seconds} s)`);
  for (const { title: name, problem } of results) {
    say(problem === null ? `ok - ${name}` : `not ok - ${name}\n${indent(problem)}`);
  }
  return results;
}

function indent(text: string): string {
  return text.trimEnd().replace(/^/gm, '    ');
}

async function untilLimit(): Promise<CaseResult[]> {
  await sleep(LIMIT_MS, undefined, { ref: false });
  const title = `all of it within ${LIMIT_MS / 1_000} s`;
  say(`not ok - ${title}`);
  return [{ title, problem: 'it was ended' }];
}

const limit = untilLimit();
await mkdir(FOLDER, { recursive: true });
const stage = await startStage();
let results: CaseResult[];
try {
  results = await Promise.race([play(stage), limit]);
} finally {
  killPrograms();
  await stage.stop();
  await stopDaemons();
}
const failed = results.filter(({ problem }) => problem !== null).length;
const passed = results.length - failed;
say(`Tests:       ${failed} failed, ${passed} passed, ${results.length} total`);
// A part that was ended may have left something open.
process.exit(failed === 0 ? 0 : 1);
