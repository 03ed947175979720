import { mkdir, open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { generateSecret } from '../deliver/sign.ts';

/** The file in the data directory that holds the secret of an instance that was given none. */
const FILE = 'signing-secret';

export interface SigningSecret {
  secret: string;
  /** Where it is kept; null when it was configured. */
  path: string | null;
}

/**
 * The secret that signs webhooks which have none of their own: the configured one, else one that is
 * made at the first start and kept in the data directory, readable by its owner only.
 * Throws what the file system throws.
 */
export async function loadSigningSecret(
  dataDir: string,
  configured: string | undefined,
): Promise<SigningSecret> {
  if (configured !== undefined) return { secret: configured, path: null };
  const path = join(dataDir, FILE);
  // Nobody else has made the directory where Redis is not our own.
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  try {
    const file = await open(path, 'wx', 0o600);
    try {
      await file.writeFile(`${generateSecret()}\n`);
    } finally {
      await file.close();
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  return { secret: (await readFile(path, 'utf8')).trim(), path };
}
