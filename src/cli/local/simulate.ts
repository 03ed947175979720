import { STORIES, STORY_NAMES, story } from '../../simulator/stories.ts';
import type { RunScript } from '../../simulator/script.ts';
import { startSimulator, type Simulator } from '../../simulator/server.ts';
import { workflowOfStory } from '../../simulator/workflow.ts';
import { COMMAND } from '../../package-root.ts';
import { untilAborted } from '../command-line.ts';

interface SimulateOptions {
  /** 0 takes any free port. */
  port: number;
  /** Ends it. */
  signal: AbortSignal;
  write: (line: string) => void;
}

/**
 * Runs a fake Noxus until the signal, with one run for every outcome. A run begins to play when it
 * is first read, so nothing is missed by taking one's time.
 * @throws RunwatchError `port_in_use`, `cannot_listen`
 */
export async function simulate(options: SimulateOptions): Promise<void> {
  const simulator = await startSimulator({ port: options.port });
  try {
    const lines = introduction(simulator, addRuns(simulator));
    for (const line of lines) options.write(line);
    await untilAborted(options.signal);
  } finally {
    await simulator.close();
  }
}

interface Listed {
  run: RunScript;
  summary: string;
}

function addRuns(simulator: Simulator): Listed[] {
  return STORY_NAMES.map((name) => ({
    run: simulator.add({
      starts: 'when_read',
      workflow_id: workflowOfStory(name),
      ...story(name),
    }),
    summary: STORIES[name].summary,
  }));
}

function introduction({ url, apiKey }: Simulator, runs: Listed[]): string[] {
  const example = runs[0]?.run.id ?? '<run-id>';
  const post = `curl -X POST ${url}/_sim`;
  const json = `-H 'content-type: application/json' -d`;
  return [
    `A fake Noxus answers at ${url} (API key: ${apiKey}).`,
    'Each run begins to play when it is first read:',
    '',
    ...runs.map(({ run, summary }) => `  ${run.id}  ${summary}`),
    '',
    'Try next, in other terminals:',
    `  NOXUS_BACKEND_URL=${url} NOXUS_API_KEY=${apiKey} ${COMMAND} serve`,
    `  ${COMMAND} watch ${example} --wait`,
    '',
    'Make more happen:',
    `  ${post}/runs ${json} '{"story":"fails"}'`,
    `  ${post}/runs/${example} ${json} '{"status":"awaiting_human_feedback"}'`,
    `  ${post}/faults ${json} '{"kind":"status","status":429,"retry_after":10,"count":1}'`,
    `  ${post}/streams ${json} '{"silent_on":["awaiting_human_feedback"]}'`,
    `  curl ${url}/_sim/stats`,
  ];
}
