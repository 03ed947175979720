import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { builtGo, generateGoClient } from './go.ts';
import { readTap, type Part } from './part.ts';
import { FOLDER, SOURCES } from './places.ts';
import { TOKEN, type Stage } from './stage.ts';
import { mustRun, pythonWith, run, type Tools } from './tools.ts';

/** Clients that are generated from the document, and register, wait and list. */
export function clientParts(tools: Tools, stage: Stage): Part[] {
  return [
    {
      title: 'a generated client in Python (openapi-python-client)',
      missing: tools.python === null ? 'there is no python3 (3.11 or later)' : null,
      async play() {
        const bin = await pythonWith(tools.python ?? '', 'tools');
        const path = join(FOLDER, 'python-client');
        const args = ['generate', '--path', await saved(stage), '--meta', 'none', '--overwrite'];
        const config = join(SOURCES, 'python/client-config.yaml');
        await mustRun(
          join(bin, 'openapi-python-client'),
          [...args, '--output-path', join(path, 'runwatch_client'), '--config', config],
          { env: { PATH: `${bin}:${process.env['PATH'] ?? ''}` } },
        );
        const env = { ...stageEnv(stage), PYTHONPATH: path };
        return readTap(
          await run(join(bin, 'python'), [join(SOURCES, 'python/client.py')], { env }),
        );
      },
    },
    {
      title: 'a generated client in Go (oapi-codegen)',
      missing: tools.go === null ? 'there is no go (1.26 or later)' : null,
      async play() {
        const go = tools.go ?? '';
        await generateGoClient(go, await saved(stage));
        return readTap(await run(await builtGo(go, 'client'), [], { env: stageEnv(stage) }));
      },
    },
  ];
}

let document: Promise<string> | null = null;

/** Saves the document of the daemon. @returns where */
async function saved({ daemon }: Stage): Promise<string> {
  document ??= fetch(`${daemon.url}/openapi.json`).then(async (response) => {
    const path = join(FOLDER, 'openapi.json');
    await writeFile(path, await response.text());
    return path;
  });
  return document;
}

/** A run that fails two seconds after its first read, for a client to follow. */
function stageEnv({ daemon, noxus }: Stage): Record<string, string> {
  const { id } = noxus.add({
    starts: 'when_read',
    steps: [
      { after_ms: 500, status: 'running' },
      { after_ms: 2_000, status: 'failed', progress: 40 },
    ],
  });
  return { API_URL: daemon.url, API_TOKEN: TOKEN, RUN_ID: id };
}
