import { loadConfig } from '../../config/load.ts';
import { reencryptStored } from '../../deliver/secrets/own-secrets.ts';
import type { ReencryptReport } from '../../deliver/secrets/sealed-secrets.ts';
import { createLifecycle } from '../../lifecycle.ts';
import { createLogger } from '../../telemetry/logger.ts';
import { renderInvalid } from './config.ts';
import type { CommandLine } from '../command-line.ts';
import { EXIT, usageError } from '../exit.ts';

/** Time to let go of Redis in, ms. */
const CLOSE_MS = 5_000;

/** Flags of `reencrypt`. */
export interface ReencryptFlags {
  json: boolean;
  /** Gives up what no key decrypts. */
  discard: boolean;
  configPath?: string;
}

/**
 * Encrypts the secrets that are kept in Redis with the first of the configured keys.
 * Throws RunwatchError `usage` without a key, or of Redis that could not be reached.
 * @returns the exit code: 1 where something could not be decrypted by any key
 */
export async function reencrypt(
  { io }: CommandLine,
  { configPath, json, discard }: ReencryptFlags,
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
