import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { fileURLToPath } from 'node:url';
import { cleanEnv } from '../support/daemon-process.ts';
import { AS_IT_SHOULD, EXAMPLE_ENV, listening, tryOut } from '../support/example-receiver.ts';
import type { CaseResult, Part } from './part.ts';
import { FOLDER } from './places.ts';
import { endWithParts, mustRun, pythonWith, type Tools } from './tools.ts';

const EXAMPLES = fileURLToPath(new URL('../../examples/receivers/', import.meta.url));

/** The examples of receivers that `npm test` leaves out, since they need more than Node. */
export function exampleParts({ python, go }: Tools): Part[] {
  return [
    {
      title: 'the example of a receiver in Python (FastAPI)',
      missing: python === null ? 'there is no python3 (3.11 or later)' : null,
      async play() {
        const bin = await pythonWith(python ?? '', 'tools');
        return tried(join(bin, 'uvicorn'), ['python_fastapi:app', '--port', '0']);
      },
    },
    {
      title: 'the example of a receiver in Go',
      missing: go === null ? 'there is no go (1.26 or later)' : null,
      async play() {
        const program = join(FOLDER, 'go-bin', 'example');
        const source = join(EXAMPLES, 'go/main.go');
        await mustRun(go ?? '', ['build', '-o', program, source]);
        return tried(program, []);
      },
    },
  ];
}

async function tried(command: string, args: string[]): Promise<CaseResult[]> {
  const child = spawn(command, args, {
    cwd: EXAMPLES,
    env: cleanEnv({ ...EXAMPLE_ENV, PYTHONDONTWRITEBYTECODE: '1' }),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  endWithParts(child);
  const found = await tryOut(await listening(child)).finally(() => child.kill('SIGKILL'));
  const isRight = isDeepStrictEqual(found, AS_IT_SHOULD);
  const title = 'verifies, drops repeats and refuses the rest';
  return [{ title, problem: isRight ? null : JSON.stringify(found) }];
}
