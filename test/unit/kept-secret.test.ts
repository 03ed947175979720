import { writeFileSync } from 'node:fs';
import {
  chmod,
  chown,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { configSchema } from '../../src/config/schema.ts';
import { checkDataDirectory } from '../../src/daemon/data-directory.ts';
import {
  loadEncryptionKeys,
  loadOwnSecrets,
  loadSigningSecret,
  keepSecret,
  readKeptSecret,
  type KeptSecret,
} from '../../src/deliver/secrets/own-secrets.ts';
import { isRoot, OTHER_USER } from '../support/other-user.ts';

let dir: string;
/** Does not exist until a secret is kept in it. */
let dataDir: string;
let path: string;
let made: number;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'runwatch-test-'));
  dataDir = join(dir, 'data');
  path = join(dataDir, 'a-secret');
  made = 0;
});

afterEach(() => rm(dir, { recursive: true, force: true }));

function kept(changes: Partial<KeptSecret> = {}): KeptSecret {
  return {
    path,
    generate: () => `secret-${(made += 1)}`,
    isValid: (text) => /^secret-\d+$/.test(text),
    expected: 'secret- and a number',
    loss: 'what it encrypted is lost',
    variable: 'RUNWATCH_A_SECRET',
    ...changes,
  };
}

const modeOf = async (of: string) => (await stat(of)).mode & 0o777;

describe('a kept secret', () => {
  test('a kept secret is made once, for its owner alone, and leaves nothing else in the directory', async () => {
    expect(await keepSecret(kept())).toBe('secret-1');
    expect(await keepSecret(kept())).toBe('secret-1');
    expect(await readdir(dataDir)).toEqual(['a-secret']);
    expect([await modeOf(path), await modeOf(dataDir)]).toEqual([0o600, 0o700]);
  });

  test('a kept secret is not made by processes that only read', async () => {
    expect(readKeptSecret(kept())).toBeNull();
    expect(await readdir(dir)).toEqual([]);
  });

  test('a kept secret is the same for all processes that ask at once, even if some made another in vain', async () => {
    const asked = await Promise.all(Array.from({ length: 16 }, () => keepSecret(kept())));
    expect(made).toBeGreaterThan(1);
    expect(new Set(asked)).toEqual(new Set([readKeptSecret(kept())]));
    expect(await readdir(dataDir)).toEqual(['a-secret']);
  });

  test('a kept secret is that of the first process, even one that came between check and creation', async () => {
    const generate = () => {
      writeFileSync(path, 'secret-77\n');
      return 'secret-1';
    };
    await mkdir(dataDir);
    expect(await keepSecret(kept({ generate }))).toBe('secret-77');
    expect(await readFile(path, 'utf8')).toBe('secret-77\n');
  });

  test('a reader finds a kept secret complete or not at all', async () => {
    await mkdir(dataDir);
    const seen = new Set<string | null>();
    const making = new AbortController();
    const reading = Array.from({ length: 4 }, async () => {
      while (!making.signal.aborted) {
        seen.add(readKeptSecret(kept()));
        await setImmediate();
      }
    });
    try {
      for (let round = 0; round < 50; round += 1) {
        await keepSecret(kept());
        await rm(path);
      }
    } finally {
      making.abort();
    }
    await Promise.all(reading);
    expect(seen.size).toBeGreaterThan(1);
  });

  test('a kept secret is made although a process died while making it', async () => {
    await mkdir(dataDir);
    await writeFile(join(dataDir, 'a-secret.8c1d'), '');
    expect(await keepSecret(kept())).toBe('secret-1');
    expect(await keepSecret(kept())).toBe('secret-1');
  });
});

describe('a file that holds something else', () => {
  test.each(['', '\n', 'secret-', 'secret-1\nsecret-2'])(
    'a secret file that holds %j is an error with a cure, and remains unchanged',
    async (text) => {
      await mkdir(dataDir);
      await writeFile(path, text);
      for (const ask of [keepSecret, async (of: KeptSecret) => readKeptSecret(of)]) {
        await expect(ask(kept())).rejects.toMatchObject({
          code: 'kept_secret_invalid',
          message: `${path} holds no secret (expected secret- and a number): put it back from a backup, or remove the file: what it encrypted is lost`,
        });
      }
      expect([await readFile(path, 'utf8'), made]).toEqual([text, 0]);
    },
  );

  test('an error about a broken secret file does not quote it', async () => {
    await mkdir(dataDir);
    await writeFile(path, 'nearly-a-secret');
    await expect(keepSecret(kept())).rejects.toThrow(/^(?!.*nearly)/);
  });
});

describe('a file that cannot be read or made', () => {
  test('an unreadable secret file is an error that names the variable to set instead', async () => {
    await writeFile(dataDir, 'no directory');
    await expect(keepSecret(kept())).rejects.toMatchObject({
      code: 'kept_secret_unusable',
      message: expect.stringMatching(
        /a-secret cannot be made .*(ENOTDIR|EEXIST).*: set RUNWATCH_A_SECRET/,
      ),
    });
  });

  test('a secret file that is a dangling link is an error, without an endless loop', async () => {
    await mkdir(dataDir);
    await symlink(join(dir, 'not-mounted'), path);
    await expect(keepSecret(kept())).rejects.toThrow(/cannot be made \(it leads nowhere\)/);
    expect(await readdir(dataDir)).toEqual(['a-secret']);
  });

  test('a directory in place of a secret file is an error', async () => {
    await mkdir(path, { recursive: true });
    await expect(keepSecret(kept())).rejects.toThrow(
      /a-secret is of no use: cannot read .* \(EISDIR\)/,
    );
  });
});

describe('a file that another user of the machine may have put there', () => {
  test('a secret file that all users may write to is refused, with the cure', async () => {
    await keepSecret(kept());
    await chmod(path, 0o666);
    await expect(keepSecret(kept())).rejects.toMatchObject({
      code: 'kept_secret_untrusted',
      message: `every user of this machine may write to ${path}: chmod o-w ${path}`,
    });
  });

  test('a secret file that a group may write to is used, as on volumes of Kubernetes', async () => {
    await keepSecret(kept());
    await chmod(path, 0o660);
    expect(await keepSecret(kept())).toBe('secret-1');
  });

  test('a secret file of another user is refused', async () => {
    if (!isRoot('only root can make a file of another user')) return;
    await keepSecret(kept());
    await chown(path, OTHER_USER, OTHER_USER);
    await expect(keepSecret(kept())).rejects.toMatchObject({
      code: 'kept_secret_untrusted',
      message: expect.stringContaining(
        `${path} belongs to user ${OTHER_USER}, neither to this user`,
      ),
    });
  });
});

describe('the data directory', () => {
  test('a data directory is accepted where it is missing, or writable by its owner and a group', async () => {
    await checkDataDirectory(dataDir);
    for (const mode of [0o700, 0o755, 0o770, 0o2775]) {
      await mkdir(dataDir, { recursive: true });
      await chmod(dataDir, mode);
      await checkDataDirectory(dataDir);
    }
  });

  test('a data directory that all users may write to is refused, with the cure', async () => {
    await mkdir(dataDir);
    await chmod(dataDir, 0o1777);
    await expect(checkDataDirectory(dataDir)).rejects.toMatchObject({
      code: 'data_directory_untrusted',
      message: expect.stringContaining(
        `every user of this machine may write to ${dataDir}: chmod o-w ${dataDir}, or set RUNWATCH_DATA_DIR`,
      ),
    });
  });

  test('a data directory of another user is refused', async () => {
    if (!isRoot('only root can make a directory of another user')) return;
    await mkdir(dataDir);
    await chown(dataDir, OTHER_USER, OTHER_USER);
    await expect(checkDataDirectory(dataDir)).rejects.toMatchObject({
      code: 'data_directory_untrusted',
    });
  });
});

describe('encryption keys', () => {
  const keyPath = () => join(dataDir, 'encryption-key');
  const [one, other] = [1, 2].map((byte) => Buffer.alloc(32, byte).toString('base64'));

  test('without configuration the encryption key is 32 random bytes that are kept', async () => {
    const first = await loadEncryptionKeys(dataDir, []);
    expect(first).toEqual({ keys: [expect.stringMatching(/^[\w+/]{43}=$/)], path: keyPath() });
    expect(await readFile(keyPath(), 'utf8')).toBe(`${String(first.keys[0])}\n`);
    expect(await modeOf(keyPath())).toBe(0o600);
    expect(await loadEncryptionKeys(dataDir, [])).toEqual(first);
    expect(await loadEncryptionKeys(join(dir, 'elsewhere'), [])).not.toEqual(first);
  });

  test('configured encryption keys are used alone where none is kept, and none is made', async () => {
    const configured = [one!, other!];
    expect(await loadEncryptionKeys(dataDir, configured)).toEqual({ keys: configured, path: null });
    expect(await readdir(dir)).toEqual([]);
  });

  test('configured encryption keys come before the kept one', async () => {
    const { keys } = await loadEncryptionKeys(dataDir, []);
    expect(await loadEncryptionKeys(dataDir, [one!, other!])).toEqual({
      keys: [one, other, ...keys],
      path: keyPath(),
    });
  });

  test('a broken file of the encryption key is an error, even with a configured key', async () => {
    await mkdir(dataDir);
    await writeFile(keyPath(), `${one!.slice(4)}\n`);
    for (const configured of [[], [other!]]) {
      await expect(loadEncryptionKeys(dataDir, configured)).rejects.toMatchObject({
        code: 'kept_secret_invalid',
        message: expect.stringContaining(`${keyPath()} holds no secret (expected 32 bytes`),
      });
    }
  });
});

describe('signing secret', () => {
  test('the signing secret is the configured one, else one that is made and kept', async () => {
    expect(await loadSigningSecret(dataDir, 'whsec_x')).toEqual({ secret: 'whsec_x', path: null });
    const first = await loadSigningSecret(dataDir, undefined);
    expect(first).toEqual({
      secret: expect.stringMatching(/^whsec_[\w+/]{43}=$/),
      path: join(dataDir, 'signing-secret'),
    });
    expect(await loadSigningSecret(dataDir, undefined)).toEqual(first);
  });

  test('an empty file of the signing secret is an error', async () => {
    await mkdir(dataDir);
    await writeFile(join(dataDir, 'signing-secret'), '');
    await expect(loadSigningSecret(dataDir, undefined)).rejects.toMatchObject({
      code: 'kept_secret_invalid',
      message: expect.stringMatching(/signing-secret holds no secret \(expected whsec_/),
    });
  });
});

/** Stores without sealed values. */
const NOTHING_STORED = {
  sealingKeys: { all: () => Promise.resolve([]), add: () => Promise.resolve() },
};

describe('messages about instance secrets at start', () => {
  async function remarksWith(settings: object) {
    const said: { path: string; message: string }[] = [];
    const info = ({ path: at }: { path: string }, message: string) =>
      said.push({ path: at.slice(dataDir.length), message });
    const config = configSchema.parse({ data_dir: dataDir, ...settings });
    const stores = NOTHING_STORED as never;
    await loadOwnSecrets({ config, log: { info }, stores });
    return said;
  }

  test('the start names where both secrets are kept, and with its own Redis mentions no other hosts', async () => {
    expect(await remarksWith({})).toEqual([
      { path: '/signing-secret', message: 'webhooks without a secret of their own are signed by' },
      {
        path: '/encryption-key',
        message: 'secrets that come with a watch are encrypted by the key in',
      },
    ]);
  });

  test('with a Redis that hosts may share, the start says that they need the same key', async () => {
    const [, ofKey] = await remarksWith({ redis: { url: 'redis://redis:6379' } });
    expect(ofKey?.message).toContain('daemons on other hosts need the same key');
  });

  test('the start says nothing where both secrets are configured and no key is kept', async () => {
    const secret = `whsec_${Buffer.alloc(32).toString('base64')}`;
    const settings = {
      delivery: { signing_secret: secret },
      encryption: { keys: ['0'.repeat(64)] },
    };
    expect(await remarksWith(settings)).toEqual([]);
    expect(await readdir(dir)).toEqual([]);
  });
});
