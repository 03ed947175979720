import { cp, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { FOLDER, SOURCES } from './places.ts';
import { mustRun } from './tools.ts';

const MODULE = join(FOLDER, 'go');

/** Go's own flags: what is pinned is used, and nothing outside of it. */
const ENV = { GOFLAGS: '-mod=readonly', GOTOOLCHAIN: 'local' };

let copied: Promise<void> | null = null;

/** The Go module, where code can be generated into it. */
async function goModule(): Promise<string> {
  copied ??= mkdir(MODULE, { recursive: true }).then(() =>
    cp(join(SOURCES, 'go'), MODULE, { recursive: true }),
  );
  await copied;
  return MODULE;
}

/** Builds a program of the module. @returns its path */
export async function builtGo(go: string, name: string): Promise<string> {
  const cwd = await goModule();
  const path = join(FOLDER, 'go-bin', name);
  await mustRun(go, ['build', '-o', path, `./${name}`], { cwd, env: ENV });
  return path;
}
/** Generates the client of an OpenAPI document into the module. */
export async function generateGoClient(go: string, document: string): Promise<void> {
  const cwd = await goModule();
  const args = ['tool', 'oapi-codegen', '-generate', 'types,client', '-package', 'runwatch'];
  await mkdir(join(cwd, 'runwatch'), { recursive: true });
  await mustRun(go, [...args, '-o', 'runwatch/client.gen.go', document], { cwd, env: ENV });
}
