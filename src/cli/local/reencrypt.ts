import { loadConfig } from '../../config/load.ts';
import type { Config } from '../../config/schema.ts';
import type { ReencryptReport } from '../../deliver/secrets/sealed-secrets.ts';
import { createLifecycle, type Lifecycle } from '../../lifecycle.ts';
import { createLogger, type Logger } from '../../telemetry/logger.ts';
import { renderInvalid } from './config.ts';
import type { CliIo, ReencryptFlags } from '../context.ts';
import { EXIT, usageError } from '../exit.ts';

/** Time to let go of Redis in, ms. */
const CLOSE_MS = 5_000;

interface ReencryptDependencies {
  reencryptStored: (options: {
    config: Config;
    log: Logger;
    lifecycle: Lifecycle;
    discard: boolean;
  }) => Promise<ReencryptReport>;
  io: Pick<CliIo, 'stdout' | 'stderr'>;
}

/**
 * Encrypts the secrets that are kept in Redis with the first of the configured keys.
 * Throws RunwatchError `usage` without a key, or of Redis that could not be reached.
 * @returns the exit code: 1 where something could not be decrypted by any key
 */
export async function reencryptVerb(
  { configPath, json, discard }: ReencryptFlags,
  { reencryptStored, io }: ReencryptDependencies,
): Promise<number> {
  const loaded = loadConfig({ purpose: 'command', configPath });
  if (loaded.kind === 'invalid') {
    io.stderr.write(renderInvalid(loaded));
    return EXIT.usage;
  }
  const { config } = loaded;
  // What is given up needs no key of its own; the daemon makes one where none is configured.
  if (config.encryption.keys.length === 0 && !discard) {
    throw usageError('there is no key to encrypt with: set RUNWATCH_ENCRYPTION_KEY');
  }
  // What goes wrong with Redis is worth a line; what goes well is not.
  const { stream, isTty, colors } = io.stderr;
  const terminal = isTty ? { colors: colors.isColorSupported } : null;
  const log = createLogger({ level: 'warn', terminal, destination: stream });
  const lifecycle = createLifecycle(log);
  try {
    const report = await reencryptStored({ config, log, lifecycle, discard });
    io.stdout.write(json ? `${JSON.stringify(report)}\n` : render(report));
    return report.unreadable.length <= report.discarded ? EXIT.ok : EXIT.failure;
  } finally {
    await lifecycle.stop(CLOSE_MS);
  }
}

function render({ examined, reencrypted, unreadable, discarded }: ReencryptReport): string {
  const fate = discarded > 0 ? 'was given up, since no key decrypts it' : 'is decrypted by no key';
  const lines = [
    `${examined} secrets examined, ${reencrypted} encrypted with the first key`,
    ...unreadable.map((name) => `what is kept for ${name} ${fate}`),
  ];
  return `${lines.join('\n')}\n`;
}
