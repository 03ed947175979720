import { pino } from 'pino';
import { configSchema } from '../../src/config/schema.ts';
import { startDaemon } from '../../src/start-daemon.ts';
import { createLifecycle } from '../../src/lifecycle.ts';
import { eventLogTo } from './event-log.ts';

type Options = Parameters<typeof startDaemon>[0];

/** A daemon inside the test's process: the test stops it. */
export async function startInside(
  config: Record<string, unknown>,
  given: Pick<Options, 'clocks' | 'kindOf' | 'rereadHeaders'> = {},
) {
  const lines: string[] = [];
  const log = pino({}, { write: (line: string) => void lines.push(line) });
  const lifecycle = createLifecycle(log);
  const daemon = await startDaemon({
    config: configSchema.parse({ server: { port: 0 }, ...config }),
    log,
    eventLog: eventLogTo((level, fields, msg) => log.info({ ...fields, level }, msg)),
    version: '0',
    lifecycle,
    ...given,
  });
  return {
    ...daemon,
    lines,
    said: (msg: string) => lines.some((line) => line.includes(`"${msg}"`)),
    stop: () => lifecycle.stop(10_000),
  };
}
