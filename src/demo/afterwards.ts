import { BLANK, bold, dim, text, type Line } from './line.ts';

/** Addresses for users that go on trying things. */
interface Places {
  /** The daemon's API. */
  url: string;
  /** True where the verbs find the daemon without `RUNWATCH_URL`. */
  isUsual: boolean;
  noxusUrl: string;
  logPath: string;
  /** A run that waits for a human. */
  waitingRunId: string;
}

/** What to try while everything still runs. */
export function afterwardLines(places: Places): Line[] {
  const { url, isUsual, noxusUrl, logPath, waitingRunId } = places;
  const runwatch = isUsual ? 'npx runwatch' : `RUNWATCH_URL=${url} npx runwatch`;
  const post = `curl -s -X POST -H 'content-type: application/json' ${noxusUrl}/_sim/runs`;
  return [
    BLANK,
    [bold('Everything still runs.'), text(' New webhooks appear here. Ctrl-C ends the demo.')],
    BLANK,
    comment('See what the daemon knows:'),
    command(`${runwatch} list`),
    command(`${runwatch} show ${waitingRunId}`),
    command(`${runwatch} events --follow`),
    command(`${runwatch} deliveries`),
    BLANK,
    comment('Answer the run that waits for a human:'),
    command(`${post}/${waitingRunId} -d '{"status":"completed","progress":100}'`),
    BLANK,
    comment('Start another run, and watch the id in the answer:'),
    command(`${post} -d '{"story":"fails"}'`),
    command(`${runwatch} watch <run-id> --wait`),
    BLANK,
    [dim('API documentation  '), text(`${url}/docs`)],
    [dim("The daemon's log   "), text(logPath)],
    BLANK,
  ];
}

function comment(words: string): Line {
  return [dim(words)];
}

function command(words: string): Line {
  return [text(`  ${words}`)];
}
